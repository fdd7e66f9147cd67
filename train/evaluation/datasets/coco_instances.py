"""COCO val2017 objects painted from the instances: 80 classes and the background.

    ROOT/images/val2017/NAME.jpg (or ROOT/val2017), annotations/instances_val2017.json
    made by --prepare: prepared/coco-object-instances/val2017/NAME.png

Not the field's COCO-Object, which comes from the pixel maps of COCO-Stuff (`coco-object`): outlines are the annotators'
polygons, and pixels without an instance are background, whatever COCO-Stuff says. Crowds are painted with their class,
as they are there, below the instances; smaller instances lie on larger ones.
"""

from pathlib import Path

from sseg.errors import SSegError
from sseg.paths import visible
from train.evaluation.datasets.coco_classes import THINGS
from train.evaluation.datasets.coco_stuff import image_folder
from train.evaluation.datasets.photographs import PhotographBenchmark, check_count, folder_of
from train.evaluation.prepare import by_image, convert, id_png, paint, read_instances

NAME = "coco-object-instances"
SOURCE = "cocodataset.org (val2017.zip, annotations_trainval2017.zip)"
COUNTS = {"val": (5000,), "train": (118287,)}


def open_coco_instances(name: str = NAME, root=None, limit=None, split="val", partial=False) -> PhotographBenchmark:
    """The photographs whose masks are prepared. SSegError if there are none, or not all."""
    folder = folder_of(name, "coco", root)
    images, masks = image_folder(folder, name, split), folder_of_masks(folder, split)
    found = visible(masks, "*.png")
    if not found:
        raise SSegError(f"There are no masks in {masks}: paint them first, with --benchmark {name} --prepare.")
    check_count(name, len(found), COUNTS[split], partial, SOURCE)
    pairs = [(images / f"{path.stem}.jpg", path) for path in found]
    return PhotographBenchmark(name, pairs, ["background", *THINGS], range(81), [], None, limit)


def prepare_coco_instances(name: str = NAME, root=None, partial=False, split="val", out=None) -> int:
    """Masks of all pictures of the JSON, also of those without an instance; returns how many there are now."""
    folder = folder_of(name, "coco", root)
    data = read_instances(folder / "annotations" / f"instances_{split}2017.json", SOURCE)
    check_count(name, len(data["images"]), COUNTS[split], partial, SOURCE)
    categories = {one["id"]: one["name"] for one in data["categories"]}
    if [categories[one] for one in sorted(categories)] != THINGS:
        raise SSegError(f"The categories of {folder}/annotations are not COCO's 80: fetch them from {SOURCE}.")
    class_of = {one: index + 1 for index, one in enumerate(sorted(categories))}
    annotations = by_image(data["annotations"])
    masks = folder_of_masks(folder, split)
    jobs = [(masks / f"{Path(one['file_name']).stem}.png", one) for one in data["images"]]
    return convert(
        jobs, lambda one: id_png(paint(one["height"], one["width"], annotations.get(one["id"], []), class_of))
    )


def folder_of_masks(folder: Path, split: str) -> Path:
    """Where --prepare writes and the benchmark reads."""
    return folder / "prepared" / NAME / f"{split}2017"
