"""Conversions of official annotations to id masks: they can be stopped and go on where they were."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from sseg.errors import SSegError
from train.evaluation.progress import Progress
from train.files import write_whole


def convert(jobs: list[tuple[Path, object]], make: Callable[[object], bytes]) -> int:
    """Write `make(what)` to each path that is not there yet, with progress; returns how many there are now."""
    missing = [job for job in jobs if not job[0].is_file()]
    for path, what in Progress(missing, "masks", len(jobs) - len(missing)):
        write_whole(path, make(what))
    return len(jobs)


def read_instances(path: Path, source: str) -> dict:
    """images, annotations and categories of a COCO-style JSON. SSegError if it is missing or damaged."""
    if not path.is_file():
        raise SSegError(f"{path} is missing: fetch it from {source}.")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return {part: data[part] for part in ("images", "annotations", "categories")}
    except (ValueError, KeyError):
        raise SSegError(f"{path} is damaged or not of COCO's form: fetch it again from {source}.") from None


def by_image(annotations: list[dict]) -> dict[int, list[dict]]:
    """Annotations of each picture's id."""
    found: dict[int, list[dict]] = {}
    for one in annotations:
        found.setdefault(one["image_id"], []).append(one)
    return found


def paint(height: int, width: int, annotations: list[dict], class_of: dict[int, int]) -> np.ndarray:
    """Instances as one map of classes, uint16 (H, W), 0 where nothing is.

    Crowds lie lowest, then instances from large to small, so that a small thing in front of a large one is seen.
    Segmentations are COCO's: polygons, or run lengths (counts as a list or as text).
    """
    labels = np.zeros((height, width), np.uint16)
    for one in sorted(annotations, key=lambda one: (-one.get("iscrowd", 0), -one["area"])):
        if one["category_id"] not in class_of:
            raise SSegError(
                f"An instance has the category {one['category_id']}, which the file does not name: "
                "fetch the annotations again."
            )
        labels[_mask(one["segmentation"], height, width)] = class_of[one["category_id"]]
    return labels


def _mask(segmentation, height, width) -> np.ndarray:
    if isinstance(segmentation, list):  # polygons
        runs = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        runs = coco_mask.frPyObjects(segmentation, height, width)
    else:
        runs = segmentation
    mask = coco_mask.decode(runs).astype(bool)
    if mask.shape != (height, width):
        raise SSegError(
            f"A segmentation has {mask.shape[1]}x{mask.shape[0]} pixels, its picture {width}x{height}: "
            "fetch the annotations again."
        )
    return mask


def id_png(labels: np.ndarray) -> bytes:
    """PNG of ids of 8 bits, or of 16 where one is over 255."""
    buffer = io.BytesIO()
    Image.fromarray(labels.astype(np.uint8 if labels.max(initial=0) < 256 else np.uint16)).save(buffer, format="PNG")
    return buffer.getvalue()
