"""Pictures to begin with, each with phrases that suit it."""

import json
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
from gradio.data_classes import FileData, GradioModel

from sseg import checkpoint
from sseg.paths import ASSETS

# Photographs that the installed gradio carries: used from there, never copied.
_PHOTOS = Path(gr.__file__).parent / "media_assets" / "images"
PHOTO_WEIGHTS = "mini-photos"  # bundled; the page's own weights, where they are not
PHOTO_WORDS = {
    "lion.jpg": "lion, rock|stone",
    "cheetah.jpg": "cheetah|leopard, sand|ground",
    "tower.jpg": "tower, sky, tree",
    "bus.png": "bus, wheel, window",
}
_STRIP = '<p id="sseg-examples-name">Examples</p><ul aria-labelledby="sseg-examples-name"></ul>'
_STRIP_JS = """
const ul = element.querySelector('ul');
const fill = () => ul.replaceChildren(...(props.value ? props.value.examples : []).map((one, index) => {
  const [li, button, img] = ['li', 'button', 'img'].map(tag => document.createElement(tag));
  button.type = 'button';
  button.title = img.alt = one.words;
  img.src = one.image.url;
  button.onclick = () => trigger('choose', {index});
  button.append(img);
  li.append(button);
  return li;
}));
watch('value', fill);
fill();
"""


@dataclass(frozen=True)
class Example:
    path: str
    words: str
    weights: str = ""  # that suit it, if the page has them


def load() -> list[Example]:
    """Our rendered scenes first (assets/examples), then gradio's photographs; whatever of them is there."""
    folder = ASSETS / "examples"
    listing = folder / "examples.json"
    scenes = json.loads(listing.read_text(encoding="utf-8")) if listing.is_file() else []
    found = [(folder / one["file"], one["words"], "") for one in scenes]
    found += [(_PHOTOS / name, words, PHOTO_WEIGHTS) for name, words in PHOTO_WORDS.items()]
    return [Example(str(path), words, weights) for path, words, weights in found if path.is_file()]


def weights_for(example: Example, service) -> str:
    """The weights that suit an example; a page with weights of its own shows what those can."""
    bundled = checkpoint.bundled()
    return example.weights if service.live in bundled and example.weights in bundled else service.live


class _StripExample(GradioModel):
    image: FileData
    words: str


class _StripData(GradioModel):
    examples: list[_StripExample]


class ExampleStrip(gr.HTML):
    """Thumbnails to click, each named by its words; event `choose` with the `index` of the example."""

    data_model = _StripData

    def __init__(self, value=None, **kw):
        super().__init__(value, html_template=_STRIP, js_on_load=_STRIP_JS, apply_default_css=False, **kw)

    def postprocess(self, value):
        shown = [_StripExample(image=FileData(path=one.path), words=one.words) for one in value or []]
        return _StripData(examples=shown)

    def api_info(self):
        return _StripData.model_json_schema()
