"""COCO val2017 with the pixel maps of COCO-Stuff: all 171 classes, or the 80 objects and a background.

    ROOT/images/val2017/NAME.jpg (or ROOT/val2017), annotations/val2017/NAME.png (or stuffthingmaps/val2017)

`coco-stuff`: 171 classes, 255 ignored. `coco-object`: 81 classes; everything above 90, and so 255, the unlabelled, too,
is background and is scored, nothing is ignored: that is what the field does (GroupViT's convert_coco_object.py). The
maps are read as they were published; files of other tools' conversions (`*TrainIds.png`) beside them are left alone.
"""

from sseg.errors import SSegError
from sseg.paths import visible
from train.evaluation.datasets.coco_classes import STUFF, STUFF_IDS, THING_IDS, THINGS, UNLABELLED
from train.evaluation.datasets.photographs import PhotographBenchmark, check_count, folder_of

SOURCE = "cocodataset.org (val2017.zip) and github.com/nightrow/cocostuff (stuffthingmaps_trainval2017.zip)"
COUNTS = {"val": (5000,), "train": (118287,)}


def open_coco_stuff(name: str = "coco-stuff", root=None, limit=None, split="val", partial=False) -> PhotographBenchmark:
    """The photographs that have a pixel map. SSegError if a part of the layout is missing."""
    folder = folder_of(name, "coco", root)
    images = image_folder(folder, name, split)
    for part in ("annotations", "stuffthingmaps"):
        maps = visible(folder / part / f"{split}2017", "*.png")
        if maps := [path for path in maps if not path.stem.endswith("TrainIds")]:
            break
    else:
        raise SSegError(f"There are no pixel maps in {folder}/annotations/{split}2017: fetch them from {SOURCE}.")
    check_count(name, len(maps), COUNTS[split], partial, SOURCE)
    pairs = [(images / f"{path.stem}.jpg", path) for path in maps]
    if name == "coco-object":
        ids, also = [STUFF_IDS[0], *THING_IDS], dict.fromkeys([*STUFF_IDS[1:], UNLABELLED], 0)
        return PhotographBenchmark(name, pairs, ["background", *THINGS], ids, [], None, limit, also)
    groups = {"things": list(range(len(THINGS))), "stuff": list(range(len(THINGS), len(THINGS) + len(STUFF)))}
    ids = [*THING_IDS, *STUFF_IDS]
    return PhotographBenchmark(name, pairs, [*THINGS, *STUFF], ids, [UNLABELLED], groups, limit)


def image_folder(folder, name: str, split: str = "val"):
    """images/val2017 or val2017. SSegError, which says so where another year lies there."""
    for place in (folder / "images" / f"{split}2017", folder / f"{split}2017"):
        if place.is_dir():
            return place
    for place in (folder / "images" / f"{split}2014", folder / f"{split}2014"):
        if place.is_dir():
            raise SSegError(f"{folder} holds {split}2014, but {name} needs {split}2017: fetch it from cocodataset.org.")
    raise SSegError(f"There is no folder images/{split}2017 in {folder}: fetch it from cocodataset.org.")
