"""Every benchmark by its name."""

from itertools import islice

from sseg.errors import SSegError
from train.evaluation.datasets.coco import open_coco
from train.evaluation.datasets.coco_instances import open_coco_instances, prepare_coco_instances
from train.evaluation.datasets.coco_stuff import open_coco_stuff
from train.evaluation.datasets.context import open_context, prepare_context
from train.evaluation.datasets.imagenet_s import open_imagenet_s
from train.evaluation.datasets.lvis import open_lvis, prepare_lvis
from train.evaluation.datasets.places import open_places
from train.evaluation.datasets.voc import open_voc

STICKERS = ("stickers", "stickers-heldout", "stickers-target")
MINI = {"voc-mini": open_voc, "coco-mini": open_coco, "coco-mini-stuff": open_coco, "places-mini": open_places}
PUBLIC = {  # read as published; each takes name, root, limit, split and partial
    "voc": open_voc,
    "voc20": open_voc,
    "context": open_context,
    "context59": open_context,
    "coco-object": open_coco_stuff,
    "coco-object-instances": open_coco_instances,
    "coco-stuff": open_coco_stuff,
    "lvis": open_lvis,
    "imagenet-s-50": open_imagenet_s,
    "imagenet-s-300": open_imagenet_s,
    "imagenet-s-919": open_imagenet_s,
}
PREPARE = {
    "context": prepare_context,
    "context59": prepare_context,
    "coco-object-instances": prepare_coco_instances,
    "lvis": prepare_lvis,
}
POINTING = "pointing"
HALVES = ("even", "odd")
BENCHMARKS = (*STICKERS, *MINI, *PUBLIC, "folder", POINTING)


def open_benchmark(name, root=None, seed_offset=0, limit=None, split="val", partial=False):
    """The benchmark of that name: class_names, ignore, groups, len, and samples with image, labels, name."""
    if name in PUBLIC:
        return PUBLIC[name](name, root, limit, split, partial)
    if split != "val":
        raise SSegError(f"{name} has one split: choose a threshold on half of its pictures.")
    if name in MINI:
        return MINI[name](name, root, limit)
    if name == "folder":
        if not root:
            raise SSegError("The benchmark folder needs --root DIR, a folder with images/, masks/ and classes.txt.")
        from train.evaluation.datasets.folder import FolderBenchmark

        return FolderBenchmark(root, limit)
    from train.evaluation.datasets.stickers import StickersBenchmark  # renders: imports what the others do without

    return StickersBenchmark(name, seed_offset, limit)


class Half:
    """Every second picture of a benchmark: those of "even" number to choose on, those of "odd" number to report on."""

    def __init__(self, benchmark, which: str):
        self.benchmark, self.first = benchmark, HALVES.index(which)

    def __getattr__(self, name):
        return getattr(self.benchmark, name)

    def __len__(self):
        return (len(self.benchmark) + 1 - self.first) // 2

    def __iter__(self):
        return islice(iter(self.benchmark), self.first, None, 2)


def prepare(name, root=None, partial=False) -> int:
    """Convert the official annotations where a benchmark needs that; returns how many masks there are now."""
    if name not in PREPARE:
        raise SSegError(f"{name} is read as it was published: there is nothing to prepare.")
    return PREPARE[name](name, root, partial)
