"""A benchmark of one's own: a folder of pictures, id masks and class names.

    ROOT/images/NAME.jpg|jpeg|png    pictures
    ROOT/masks/NAME.png              one id a pixel: 8-bit or 16-bit grey, or palette (read as indices)
    ROOT/classes.txt                 one class name a line, in id order: the first line is id 0; `|` joins synonyms,
                                     underscores and quotes are read as in phrases (sseg/phrases.py)

Pixels with id 255 do not count. A list of more than 255 classes uses 255 as a class, so there 65535 is ignored instead.
Names with a dot in front are passed over.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from sseg import images
from sseg.errors import SSegError
from sseg.paths import visible
from sseg.phrases import key, synonyms_of
from sseg.truth import read_ids

_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
MUCH = 0.2  # share of ignored pixels that is worth a warning


class Sample(NamedTuple):
    """image (H, W, 3) uint8, labels (H, W) int32 with -1 for pixels that do not count, name without its suffix."""

    image: np.ndarray
    labels: np.ndarray
    name: str


class FolderBenchmark:
    """Reads the layout above; pictures and masks are only opened when their turn comes.

    Raises SSegError when the root, one of its parts or a mask is missing, when a mask and its picture differ in size,
    and when a mask holds an id that classes.txt has no name for.
    """

    ignore = -1
    groups = {}
    background = None  # classes.txt says it all

    def __init__(self, root, limit=None, name="folder"):
        self.name, self.root = name, Path(root)
        if not self.root.is_dir():
            raise SSegError(f"There is no folder {self.root}: give one that holds images/, masks/ and classes.txt.")
        self.class_names = self._read_classes()
        self.ignored_id = 255 if len(self.class_names) <= 255 else 65535
        self.images = self._find("images", _IMAGE_SUFFIXES)[:limit]
        masks = {path.stem: path for path in self._find("masks", (".png",))}
        missing = [path.name for path in self.images if path.stem not in masks]
        if missing:
            raise SSegError(
                f"{len(missing)} pictures of {self.root} have no mask, the first is {missing[0]}: "
                f"put masks/{Path(missing[0]).stem}.png beside it."
            )
        self.masks = masks

    def __len__(self):
        return len(self.images)

    def __iter__(self):
        for path in self.images:
            image = images.read(path, max_pixels=10**9)  # never scaled: the mask fits the picture as it is
            labels = self._read_mask(self.masks[path.stem])
            if labels.shape != image.shape[:2]:
                sizes = [f"{array.shape[1]}x{array.shape[0]}" for array in (labels, image)]
                raise SSegError(
                    f"The mask of {path.name} has {sizes[0]} pixels, the picture {sizes[1]}: make them one size."
                )
            yield Sample(image, labels, path.stem)

    def _read_classes(self):
        path = self.root / "classes.txt"
        try:
            names = path.read_text(encoding="utf-8-sig").splitlines()
        except FileNotFoundError:
            raise SSegError(f"{path} is missing: write one class name a line, in id order.") from None
        except UnicodeDecodeError:
            raise SSegError(f"{path} is not UTF-8 text: save it as UTF-8.") from None
        while names and not names[-1].strip():
            names.pop()
        names = ["|".join(synonyms_of(name)) for name in names]
        if not names or not all(names):
            raise SSegError(f"{path} has an empty line or no line: write one class name a line, in id order.")
        first: dict[str, int] = {}
        for place, name in enumerate(names):
            if first.setdefault(key(name), place) != place:
                raise SSegError(
                    f'{path} has "{name}" twice, as id {first[key(name)]} and as id {place}: give each id '
                    "a name of its own, or both classes one id."
                )
        return names

    def _find(self, part, suffixes):
        folder = self.root / part
        found = [p for p in visible(folder) if p.suffix.lower() in suffixes] if folder.is_dir() else []
        if not found:
            raise SSegError(f"There are no {' or '.join(suffixes)} files in {folder}: see the layout in the README.")
        return found

    def _read_mask(self, path):
        ids = read_ids(path)
        labels = np.where(ids == self.ignored_id, self.ignore, ids).astype(np.int32)
        if labels.max() >= len(self.class_names):
            raise SSegError(
                f"{path} holds the id {labels.max()}, but classes.txt names only 0 to "
                f"{len(self.class_names) - 1}: add the name, or paint those pixels {self.ignored_id}."
            )
        return labels


def doubts(benchmark, metric) -> list[str]:
    """What makes the score of one's own masks doubtful, a sentence each: that much of them, or all but one class, does
    not count. Published sets ignore what their rules say."""
    ignored_id = getattr(benchmark, "ignored_id", None)
    if ignored_id is None or not metric.ignored:
        return []
    share = metric.compute()["ignored"]
    true = np.flatnonzero(metric.true)
    if len(true) == 1 and metric.num_classes > 1:
        return [
            f'All pixels that count are "{benchmark.class_names[true[0]]}"; the other {100 * share:.1f} % have the '
            f"id {ignored_id}, which does not count: if it stands for a class, paint that class with its own id."
        ]
    if share >= MUCH:
        return [
            f"{100 * share:.1f} % of the pixels have the id {ignored_id}, which does not count: if it stands for a "
            "class, paint that class with its own id."
        ]
    return []
