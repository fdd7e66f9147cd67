"""PASCAL Context, 59 classes and the background, on the photographs of VOC 2010.

    ROOT/VOC2010/JPEGImages/NAME.jpg, trainval_merged.json (in ROOT or in VOC2010)
    made by --prepare: VOC2010/SegmentationClassContext/NAME.png, ImageSets/SegmentationContext/{train,val}.txt

`context`: 60 classes; `context59`: pixels of the background count nowhere. The JSON has one run length for each
category of a picture, of 459; the 59 common ones and 0 = the rest become 0..59 in the order of their numbers, as
mmsegmentation converts (tools/dataset_converters/pascal_context.py), here without the `detail` package.
"""

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from sseg.errors import SSegError
from train.evaluation.datasets.photographs import PhotographBenchmark, check_count, folder_of, year_of
from train.evaluation.prepare import convert
from train.files import write_whole

CLASSES = (
    "background aeroplane bag bed bedclothes bench bicycle bird boat book bottle building bus cabinet car cat ceiling "
    "chair cloth computer cow cup curtain dog door fence floor flower food grass ground horse keyboard light motorbike "
    "mountain mouse person plate platform potted_plant road rock sheep shelves sidewalk sign sky snow sofa table track "
    "train tree truck tv_monitor wall water window wood"
)
CLASSES = [name.replace("_", " ") for name in CLASSES.split()]
RAW_IDS = [  # numbers of the 459 categories, one a class
    0, 2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98, 104, 105, 113, 115, 144, 158, 159,
    162, 187, 189, 207, 220, 232, 258, 259, 260, 284, 295, 296, 308, 324, 326, 347, 349, 354, 355, 360, 366, 368, 397,
    415, 416, 420, 424, 427, 440, 445, 454, 458,
]  # fmt: skip
SOURCE = "cs.stanford.edu/~roozbeh/pascal-context and codalabuser.blob.core.windows.net/public/trainval_merged.json"
COUNTS = {"val": (5104, 5105), "train": (4998,)}  # both are in use for val


def open_context(name: str = "context", root=None, limit=None, split="val", partial=False) -> PhotographBenchmark:
    """The photographs of val.txt (or train.txt), once prepared. SSegError if a part of the layout is missing."""
    folder = _folder(name, root)
    listing = folder / "ImageSets" / "SegmentationContext" / f"{split}.txt"
    if not listing.is_file():
        raise SSegError(f"{listing} is missing: convert the annotations first, with --benchmark {name} --prepare.")
    names = listing.read_text(encoding="utf-8").split()
    check_count(name, len(names), COUNTS[split], partial, SOURCE)
    pairs = [(folder / "JPEGImages" / f"{n}.jpg", folder / "SegmentationClassContext" / f"{n}.png") for n in names]
    classes, ignored = (CLASSES[1:], [0, 255]) if name == "context59" else (CLASSES, [255])
    first = len(CLASSES) - len(classes)
    return PhotographBenchmark(name, pairs, classes, range(first, len(CLASSES)), ignored, None, limit)


def prepare_context(name: str = "context", root=None, partial=False) -> int:
    """Masks and lists from trainval_merged.json; returns how many masks there are now."""
    folder = _folder(name, root)
    data = _read_json(folder)
    regions: dict[int, list] = {}
    for one in data["annos_segmentation"]:
        regions.setdefault(one["image_id"], []).append((one["category_id"], one["segmentation"]))
    phases = {phase: [one for one in data["images"] if one["phase"] == phase] for phase in COUNTS}
    for phase, images in phases.items():
        if images or phase == "val":
            check_count(f"{name} {phase}", len(images), COUNTS[phase], partial, SOURCE)
    out = folder / "SegmentationClassContext"
    jobs = [(out / f"{Path(one['file_name']).stem}.png", one) for images in phases.values() for one in images]
    count = convert(jobs, lambda one: label_map(one, regions.get(one["image_id"], ())))
    for phase, images in phases.items():  # last, so that a list stands for finished masks
        names = sorted(Path(one["file_name"]).stem for one in images)
        listing = folder / "ImageSets" / "SegmentationContext" / f"{phase}.txt"
        write_whole(listing, "".join(f"{one}\n" for one in names))
    return count


def label_map(image: dict, regions) -> bytes:
    """PNG of classes from (category, run length) regions; what nobody marked is background."""
    raw = np.zeros((image["height"], image["width"]), np.int32)
    for category, segmentation in regions:
        mask = coco_mask.decode(segmentation)
        if mask.shape != raw.shape:
            raise SSegError(
                f"The annotation of {image['file_name']} has another size than the picture: fetch "
                "trainval_merged.json again."
            )
        raw[mask > 0] = category
    classes = np.searchsorted(RAW_IDS, raw).clip(max=len(RAW_IDS) - 1)
    if (np.take(RAW_IDS, classes) != raw).any():
        raise SSegError(
            f"The annotation of {image['file_name']} has categories that are not among the 59: take "
            "trainval_merged.json, not the full annotation of 459 categories."
        )
    buffer = io.BytesIO()
    Image.fromarray(classes.astype(np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def _folder(name, root):
    return year_of(name, folder_of(name, "context", root), "VOC2010", ("VOC2012", "VOC2007"), SOURCE)


def _read_json(folder):
    found = [
        path
        for place in (folder, folder.parent, folder.parent.parent)
        if (path := place / "trainval_merged.json").is_file()
    ]
    if not found:
        raise SSegError(f"trainval_merged.json lies neither in {folder} nor beside it: fetch it from {SOURCE}.")
    try:
        data = json.loads(found[0].read_text(encoding="utf-8"))
        return {part: data[part] for part in ("images", "annos_segmentation")}
    except (ValueError, KeyError):
        raise SSegError(f"{found[0]} is damaged or of another set: fetch it again from {SOURCE}.") from None
