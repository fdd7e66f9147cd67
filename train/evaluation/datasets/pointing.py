"""Pointing game on captioned photographs: is the place where a phrase scores highest inside one of its boxes?

    ROOT/*.tar (KEY.jpg), ROOT/phrase-boxes.json: {KEY: {"size": [w, h], "phrases": [[text, id, type]...], "boxes":
    {id: [[x1, y1, x2, y2]...]}}}, boxes in pixels of a picture of that size

The layout is that of Flickr30k Entities' phrases made into one file (Plummer et al. 2015); the game is that of Zhang et
al. 2016 ("Top-down neural attention by excitation backprop"). A phrase without a box is not asked.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from sseg import images
from sseg.errors import SSegError
from sseg.paths import visible
from train.data.tars import members
from train.evaluation.datasets.photographs import folder_of

BLUR = 0.15  # chosen on the pictures of even number (docs/log.md)


class Phrase(NamedTuple):
    """A phrase of a caption and where it is."""

    text: str
    kind: str  # people, animals, scene, ...
    boxes: np.ndarray  # (n, 4) x1, y1, x2, y2 in pixels of the picture


class Pointing:
    """Photographs with phrases: iterates over (picture uint8 (H, W, 3), its phrases)."""

    def __init__(self, name: str = "pointing", root=None, limit: int | None = None):
        """Raises SSegError for a missing folder, missing boxes, or boxes of pictures that are not there."""
        folder = folder_of(name, "pairs-val", root)
        try:
            entries = json.loads((folder / "phrase-boxes.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise SSegError(f"{folder / 'phrase-boxes.json'} is missing or damaged: see docs/data.md.") from None
        places = {
            key: (tar, parts["picture"])
            for tar in visible(folder, "*.tar")
            for key, parts in members(tar).items()
            if "picture" in parts
        }
        if missing := sorted(entries.keys() - places.keys()):
            raise SSegError(
                f"{len(missing)} pictures of the boxes are in no tar of {folder}, the first is "
                f"{missing[0]}: put the tars beside phrase-boxes.json."
            )
        self.name = name
        self.images = [(places[key], entry) for key, entry in sorted(entries.items())][:limit]

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[tuple[np.ndarray, list[Phrase]]]:
        for (tar, (offset, size)), entry in self.images:
            image = images.read(_bytes(tar, offset, size))
            scale = np.array([image.shape[1] / entry["size"][0], image.shape[0] / entry["size"][1]] * 2)
            phrases = {(text, number): kind for text, number, kind in entry["phrases"] if number in entry["boxes"]}
            yield (
                image,
                [
                    Phrase(text, kind, np.array(entry["boxes"][number], float) * scale)
                    for (text, number), kind in phrases.items()
                ],
            )


def _bytes(tar: Path, offset: int, size: int) -> bytes:
    with tar.open("rb") as file:
        file.seek(offset)
        return file.read(size)


def inside(boxes: np.ndarray, x: float, y: float) -> bool:
    """Whether a point is in one of the boxes (n, 4), their edges included."""
    return bool(((boxes[:, :2] <= (x, y)) & ((x, y) <= boxes[:, 2:])).all(1).any())


def play(benchmark, segmenter, long_side: int | None = None, blur: float = BLUR) -> dict[str, list[tuple[bool, bool]]]:
    """For each kind of phrase, whether the model hit, and whether the middle of the picture does.

    The place of a phrase is the highest of `similarity_map`, evened out by a Gaussian whose deviation is the share
    `blur` of the map's longer side: the highest single cell is seldom the middle of anything.
    """
    hits: dict[str, list[tuple[bool, bool]]] = {}
    for image, phrases in benchmark:
        encoded = segmenter.encode(image, long_side=long_side)
        height, width = image.shape[:2]
        for phrase in phrases:
            found = similarity_map(segmenter, encoded, phrase.text)
            found = gaussian_filter(found, blur * max(found.shape), mode="constant")
            row, column = np.unravel_index(found.argmax(), found.shape)
            x, y = (column + 0.5) * width / found.shape[1], (row + 0.5) * height / found.shape[0]
            hit = inside(phrase.boxes, x, y), inside(phrase.boxes, width / 2, height / 2)
            hits.setdefault(phrase.kind, []).append(hit)
    return hits


@torch.inference_mode()
def similarity_map(segmenter, encoded, text: str) -> np.ndarray:
    """Cosine of a text with what each cell of the picture means, no other word competing: (h, w) in -1..1.

    A cell means what its masks mean, each by its share of the cell. Whole phrases of captions ("a man in a red shirt")
    are ill served by a softmax over known words, where `man` and `shirt` take what belongs to them.
    """
    cosines = encoded.mask_embeddings @ segmenter.embed([text])[0]  # (M,)
    weights = encoded.mask_weights / encoded.mask_weights.sum(0).clamp_min(1e-6)
    return torch.einsum("m,mhw->hw", cosines, weights).cpu().numpy()
