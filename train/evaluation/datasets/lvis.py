"""LVIS v1 validation as semantic segmentation: 1,203 classes and the background, on photographs of COCO 2017.

    ROOT/lvis_v1_val.json (or annotations/), images/{train,val}2017/NAME.jpg (or ROOT/{train,val}2017)
    made by --prepare: prepared/lvis/SPLIT/NAME.png (ids of 16 bits), classes.json

There is no official semantic version; this is ours: instances painted from large to small, what is unpainted is
background. LVIS is federated: a picture is annotated for some categories alone, so that a right answer may count as
wrong where nobody looked for it, alike for every model. Names are the first synonym, without brackets and
underscores.
"""

import json
from pathlib import Path

from sseg.errors import SSegError
from sseg.paths import visible
from train.evaluation.datasets.photographs import PhotographBenchmark, check_count, folder_of
from train.evaluation.prepare import by_image, convert, id_png, paint, read_instances
from train.files import write_whole

SOURCE = "lvisdataset.org (lvis_v1_val.json) and cocodataset.org (train2017.zip, val2017.zip)"
COUNTS = {"val": (19809,), "train": (100170,)}
CATEGORIES = 1203


def open_lvis(name: str = "lvis", root=None, limit=None, split="val", partial=False) -> PhotographBenchmark:
    """The photographs whose masks are prepared. SSegError if there are none, or not all."""
    folder = folder_of(name, "lvis", root)
    listing = _prepared(folder, split) / "classes.json"
    if not listing.is_file():
        raise SSegError(f"{listing} is missing: paint the masks first, with --benchmark {name} --prepare.")
    names = json.loads(listing.read_text(encoding="utf-8"))
    masks = visible(_prepared(folder, split), "*2017/*.png")
    check_count(name, len(masks), COUNTS[split], partial, SOURCE)
    pairs = [(_image(folder, path.parent.name, path.stem), path) for path in masks]
    return PhotographBenchmark(name, pairs, names, range(len(names)), [], None, limit)


def prepare_lvis(name: str = "lvis", root=None, partial=False, split="val") -> int:
    """16-bit masks of all pictures of the JSON; returns how many there are now."""
    folder = folder_of(name, "lvis", root)
    path = folder / f"lvis_v1_{split}.json"
    data = read_instances(path if path.is_file() else folder / "annotations" / path.name, SOURCE)
    if len(data["categories"]) != CATEGORIES:
        raise SSegError(
            f"{path.name} names {len(data['categories']):,} categories, LVIS v1 has {CATEGORIES:,}: "
            f"fetch version 1 from {SOURCE}."
        )
    check_count(name, len(data["images"]), COUNTS[split], partial, SOURCE)
    categories = sorted(data["categories"], key=lambda one: one["id"])
    class_of = {one["id"]: index + 1 for index, one in enumerate(categories)}
    annotations = by_image(data["annotations"])
    jobs = []
    for one in data["images"]:
        part, file = one["coco_url"].split("/")[-2:]  # .../val2017/000000000139.jpg
        jobs.append((_prepared(folder, split) / part / f"{Path(file).stem}.png", one))
    count = convert(
        jobs, lambda one: id_png(paint(one["height"], one["width"], annotations.get(one["id"], []), class_of))
    )
    names = ["background", *(plain_name(one["name"]) for one in categories)]
    write_whole(_prepared(folder, split) / "classes.json", json.dumps(names).encode())
    return count


def plain_name(name: str) -> str:
    """`bow_(decorative_ribbons)` -> `bow decorative ribbons`."""
    return name.replace("(", "").replace(")", "").replace("_", " ")


def _prepared(folder: Path, split: str) -> Path:
    return folder / "prepared" / "lvis" / split


def _image(folder: Path, part: str, stem: str) -> Path:
    place = folder / "images" / part
    return (place if place.is_dir() else folder / part) / f"{stem}.jpg"
