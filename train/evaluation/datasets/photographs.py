"""What the photograph sets share: where they lie, how many there must be, and pictures beside id masks."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sseg import images
from sseg.errors import SSegError
from sseg.truth import read_ids
from train.evaluation.datasets.folder import Sample

DATA = Path(__file__).resolve().parents[3] / "data"
IGNORE = -1


def folder_of(benchmark: str, folder: str, root=None) -> Path:
    """`root`, else the set's folder under $SSEG_DATA, else under data/ of the repository."""
    path = Path(root) if root else Path(os.environ.get("SSEG_DATA") or DATA) / folder
    if not path.is_dir():
        raise SSegError(f"There is no folder {path}: give the data of {benchmark} with --root DIR, or set SSEG_DATA.")
    return path


def year_of(benchmark: str, root: Path, year: str, others: tuple[str, ...], source: str) -> Path:
    """ROOT/year, ROOT/VOCdevkit/year, or ROOT itself. SSegError that says which other year lies there."""
    for place in (root / year, root / "VOCdevkit" / year, root):
        if place.name == year and place.is_dir():
            return place
    for other in others:
        if (root / other).is_dir() or (root / "VOCdevkit" / other).is_dir() or root.name == other:
            raise SSegError(f"{root} holds {other}, but {benchmark} needs {year}: fetch it from {source}.")
    raise SSegError(f"There is no folder {year} in {root}: fetch it from {source}.")


def check_count(benchmark: str, found: int, expected: tuple[int, ...], partial: bool, source: str) -> None:
    """Half a set must not pass for the whole: SSegError unless `found` is one of the `expected`, or `partial`."""
    if found and (partial or found in expected):
        return
    wanted = " or ".join(f"{count:,}" for count in expected)
    raise SSegError(
        f"{benchmark} has {wanted} pictures, but here are {found:,}: fetch the rest from {source}, "
        "or say --partial to score a part, which compares with nothing published."
    )


class PhotographBenchmark:
    """Photographs with id masks of their own size; `ids[i]` is the mask's id of class i, `ignored` counts nowhere.

    Ids are anything that 32 bits hold: `read(path)` gives them as int32 (H, W), by default from grey or palette PNG of
    8 or 16 bits. `also` maps further ids to classes. Raises SSegError for a missing picture or mask, for one that
    cannot be read, and for ids that no class has.
    """

    ignore = IGNORE

    def __init__(self, name, pairs, class_names, ids, ignored, groups=None, limit=None, also=None, read=read_ids):
        self.name, self.found = name, len(pairs)  # `found`: before the limit
        self.pairs, self.class_names = pairs[:limit], list(class_names)
        self.groups, self.read_mask = groups or {}, read
        self.background = self.class_names.index("background") if "background" in self.class_names else None
        also = also or {}
        self.unknown = len(self.class_names)
        self.table = np.full(max((*ids, *ignored, *also)) + 2, self.unknown, np.int32)  # id -> class
        self.table[list(ids)] = np.arange(len(ids))
        self.table[ignored] = IGNORE
        for one, index in also.items():
            self.table[one] = index
        if not self.pairs:
            raise SSegError(f"The benchmark {name} has no pictures in that folder: look at its layout in docs/data.md.")

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[Sample]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, index: int) -> Sample:
        """Read picture number `index`; several threads may."""
        picture, mask = self.pairs[index]
        if not mask.is_file():
            raise SSegError(f"{mask} is missing or cannot be read: fetch it again.")
        image = images.read(picture, max_pixels=10**9)  # never scaled: the mask fits the picture as it is
        labels = self.table[np.minimum(self.read_mask(mask), len(self.table) - 1)]
        if labels.shape != image.shape[:2]:
            raise SSegError(f"{mask} and {picture} differ in size: take both from one copy of the set.")
        if labels.max() >= self.unknown:
            raise SSegError(f"{mask} holds ids that {self.name} does not have: take the masks of its own layout.")
        return Sample(image, labels, picture.stem)
