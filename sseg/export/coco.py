"""COCO's JSON of detection and segmentation: images, categories, and a mask in run lengths for each annotation."""

from collections.abc import Iterator

import numpy as np
from pycocotools import mask as coco_mask
from scipy import ndimage

from sseg import images


def coco_entry(
    file_name: str,
    labels: np.ndarray,
    confidence: np.ndarray,
    size: tuple[int, int] | None = None,
    parts: bool = False,
) -> dict:
    """What COCO says of one image, for `coco_json`.

    Args:
        file_name: of the image, relative to the folder of images.
        labels: int (H, W), -1 = background.
        confidence: float (H, W) in 0..1, whose mean under a mask is its score.
        size: height and width of the image itself, where it was worked on smaller: masks are enlarged to it.
        parts: an annotation for each connected part (pixels that share a side) instead of one a phrase.

    Returns:
        {"file_name", "width", "height", "annotations": [{"category_id": label + 1, "segmentation": run lengths,
        "area" in pixels, "bbox": [x, y, width, height], "iscrowd": 0, "score" 0..1}, ...]}.
    """
    height, width = size or labels.shape
    annotations = []
    for label, mask, score in _masks(labels, confidence, parts):
        run_lengths = images.rle(mask if mask.shape == (height, width) else images.enlarge(mask, (height, width)))
        annotations.append({
            "category_id": label + 1,
            "segmentation": run_lengths,
            "area": int(coco_mask.area(run_lengths)),
            "bbox": coco_mask.toBbox(run_lengths).tolist(),
            "iscrowd": 0,
            "score": round(score, 4),
        })  # fmt: skip
    return {"file_name": file_name, "width": int(width), "height": int(height), "annotations": annotations}


def coco_json(phrases: list[str], entries: list[dict], about: str = "Labelled by S-Seg") -> dict:
    """One COCO data set of images that were asked for the same phrases.

    Args:
        phrases: the categories; phrase i has the id i + 1.
        entries: of `coco_entry`, one an image.
        about: a line for "info".

    Returns:
        What `json.dump` writes and `pycocotools.coco.COCO` reads; images and annotations are numbered from 1.

    Example:
        >>> entry = coco_entry("dog.jpg", answer.labels, answer.confidence)  # doctest: +SKIP
        >>> json.dump(coco_json(answer.phrases, [entry]), file)  # doctest: +SKIP
    """
    listed: list[dict] = []
    annotations: list[dict] = []
    for number, entry in enumerate(entries, 1):
        listed.append({"id": number, **{key: entry[key] for key in ("file_name", "width", "height")}})
        for one in entry["annotations"]:
            annotations.append({"id": len(annotations) + 1, "image_id": number, **one})
    categories = [{"id": i + 1, "name": phrase, "supercategory": ""} for i, phrase in enumerate(phrases)]
    return {"info": {"description": about}, "images": listed, "categories": categories, "annotations": annotations}


def _masks(labels, confidence, parts: bool) -> Iterator[tuple[int, np.ndarray, float]]:
    """Label, mask (H, W) and mean confidence, one at a time."""
    for label in np.unique(labels):
        if label < 0:
            continue
        mask = labels == label
        if not parts:
            yield int(label), mask, float(confidence[mask].mean())
            continue
        numbered, count = ndimage.label(mask)
        for number in range(1, count + 1):
            part = numbered == number
            yield int(label), part, float(confidence[part].mean())
