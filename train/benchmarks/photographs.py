"""What the photograph sets share: where they lie, and pictures beside id masks."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from sseg import images
from sseg.errors import SSegError
from train.benchmarks.folder import Sample

DATA = Path(__file__).resolve().parents[2] / "data"
IGNORE = -1


def folder_of(benchmark: str, folder: str, root=None) -> Path:
    """`root`, else the set's folder under $SSEG_DATA, else under data/ of the repository."""
    path = Path(root) if root else Path(os.environ.get("SSEG_DATA") or DATA) / folder
    if not path.is_dir():
        raise SSegError(f"There is no folder {path}: give the data of {benchmark} with --root DIR, or set SSEG_DATA.")
    return path


class PhotographBenchmark:
    """Photographs with id masks of their own size; `ids[i]` is the mask's id of class i, `ignored` counts nowhere.

    Raises SSegError for a missing picture or mask, for one that cannot be read, and for ids that no class has.
    """

    ignore = IGNORE

    def __init__(self, name, pairs, class_names, ids, ignored, groups=None, limit=None):
        self.name, self.pairs, self.class_names = name, pairs[:limit], list(class_names)
        self.groups = groups or {}
        self.background = self.class_names.index("background") if "background" in self.class_names else None
        self.table = np.full(256, len(self.class_names), np.int32)  # id -> class; one beyond the last: unknown
        self.table[ids] = np.arange(len(ids))
        self.table[ignored] = IGNORE
        if not self.pairs:
            raise SSegError(f"The benchmark {name} has no pictures in that folder: look at its layout in docs/data.md.")

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[Sample]:
        for picture, mask in self.pairs:
            image = images.read(picture, max_pixels=10**9)  # never scaled: the mask fits the picture as it is
            labels = self.table[self._read(mask)]
            if labels.shape != image.shape[:2]:
                raise SSegError(f"{mask} and {picture} differ in size: take both from one copy of the set.")
            if labels.max() >= len(self.class_names):
                raise SSegError(f"{mask} holds ids that {self.name} does not have: take the masks of its own layout.")
            yield Sample(image, labels, picture.stem)

    @staticmethod
    def _read(path) -> np.ndarray:
        try:
            with Image.open(path) as mask:
                return np.asarray(mask if mask.mode in ("L", "P") else mask.convert("L"))
        except OSError:
            raise SSegError(f"{path} is missing or cannot be read: fetch it again.") from None
