"""Pictures to begin with, each with phrases that suit it."""

import json
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from sseg.paths import ASSETS

# Photographs that the installed gradio carries: used from there, never copied.
_PHOTOS = Path(gr.__file__).parent / "media_assets" / "images"
PHOTO_WORDS = {
    "lion.jpg": "lion, rock|stone",
    "cheetah.jpg": "cheetah|leopard, sand|ground",
    "tower.jpg": "tower, sky, tree",
    "bus.png": "bus, wheel, window",
}


@dataclass(frozen=True)
class Example:
    path: str
    words: str


def load() -> list[Example]:
    """Our rendered scenes first (assets/examples), then gradio's photographs; whatever of them is there."""
    folder = ASSETS / "examples"
    listing = folder / "examples.json"
    scenes = json.loads(listing.read_text(encoding="utf-8")) if listing.is_file() else []
    found = [(folder / one["file"], one["words"]) for one in scenes]
    found += [(_PHOTOS / name, words) for name, words in PHOTO_WORDS.items()]
    return [Example(str(path), words) for path, words in found if path.is_file()]
