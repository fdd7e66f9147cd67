"""python -m tests.export.read_back PNG COCO YOLO: one folder in three formats, as other programs read it.

Prints a JSON object: for each reader its images, masks, and the largest difference between its pixels of a class in an
image and those of the id masks. ultralytics, which no other part needs, takes part where it is installed.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import supervision
from pycocotools.coco import COCO

from sseg.truth import read_ids


def true_pixels(folder: Path) -> dict:
    """Pixels (classes,) of each class by the stem of the image; id 0, the background, is left out."""
    count = len((folder / "classes.txt").read_text(encoding="utf-8").splitlines())
    return {p.stem: np.bincount(read_ids(p).ravel(), minlength=count)[1:] for p in (folder / "masks").iterdir()}


def by_pycocotools(folder: Path):
    coco = COCO(str(folder / "annotations.json"))
    for number, image in coco.imgs.items():
        for one in coco.loadAnns(coco.getAnnIds([number])):
            mask = coco.annToMask(one)
            assert mask.sum() == one["area"]
            yield Path(image["file_name"]).stem, one["category_id"] - 1, int(mask.sum())


def by_supervision(data):
    for path, _, found in data:
        for i, mask in zip(found.class_id, [] if found.mask is None else found.mask, strict=True):
            yield Path(path).stem, int(i), int(mask.sum())


def by_ultralytics(folder: Path):
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset, polygon2mask

    described = check_det_dataset(str(folder / "data.yaml"))
    data = YOLODataset(img_path=described["train"], data=described, task="segment", augment=False)
    assert len(data.labels) == len(list((folder / "images").iterdir()))
    for label in data.labels:
        height, width = label["shape"]
        for i, segment in zip(label["cls"][:, 0], label["segments"], strict=True):
            polygon = (segment * (width, height)).reshape(1, -1)
            yield Path(label["im_file"]).stem, int(i), int(polygon2mask((height, width), polygon).sum())


def compare(found, true: dict) -> dict:
    """What a reader found against the id masks."""
    read, masks = {name: np.zeros_like(row) for name, row in true.items()}, 0
    for name, i, pixels in found:
        read[name][i] += pixels
        masks += 1
    off = max(int(np.abs(read[name] - true[name]).max()) for name in true)
    return {"images": len(read), "masks": masks, "most_pixels_off": off}


def main(png: str, coco: str, yolo: str) -> None:
    png, coco, yolo = map(Path, (png, coco, yolo))
    true = true_pixels(png)
    from_coco = supervision.DetectionDataset.from_coco(
        str(coco / "images"), str(coco / "annotations.json"), force_masks=True
    )
    from_yolo = supervision.DetectionDataset.from_yolo(
        str(yolo / "images"), str(yolo / "labels"), str(yolo / "data.yaml"), force_masks=True
    )
    report = {
        "coco by pycocotools": compare(by_pycocotools(coco), true),
        "coco by supervision": compare(by_supervision(from_coco), true),
        "yolo by supervision": compare(by_supervision(from_yolo), true),
    }
    try:
        report["yolo by ultralytics"] = compare(by_ultralytics(yolo), true)
    except ImportError:
        report["yolo by ultralytics"] = "not installed"
    report["bytes"] = {part.name: size_of(part) for part in (png / "masks", coco / "annotations.json", yolo / "labels")}
    print(json.dumps(report))


def size_of(path: Path) -> int:
    return sum(os.path.getsize(file) for file in ([path] if path.is_file() else path.iterdir()))


if __name__ == "__main__":
    main(*sys.argv[1:])
