"""The public sets as they are published, in miniature: official folders, ids, palettes, run lengths, made by the tests.

Every picture has 8 rows and 12 columns, in four stripes of 6, 3, 2 and 1 columns; `ids` gives each stripe's raw id.
"""

import json

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

STRIPES = np.repeat(np.arange(4), (6, 3, 2, 1))[None].repeat(8, 0)  # (8, 12)
PALETTE = [value for i in range(256) for value in (255 - i, i, i // 2)]


def picture(path, size=(12, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 40)).save(path)


def grey(path, ids, palette=False, dtype=np.uint8):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(ids).astype(dtype))
    if palette:
        image.putpalette(PALETTE)
    image.save(path)


def voc(root, ids):
    folder = root / "VOC2012"
    for name in ("2007_000033", "2007_000042"):
        picture(folder / "JPEGImages" / f"{name}.jpg")
        grey(folder / "SegmentationClass" / f"{name}.png", np.take(ids, STRIPES), palette=True)
    listing = folder / "ImageSets" / "Segmentation" / "val.txt"
    listing.parent.mkdir(parents=True, exist_ok=True)
    listing.write_text("2007_000033\n2007_000042\n")


def runs(mask):
    """COCO's compressed run length, counts as text."""
    encoded = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode()}


def plain_runs(mask):
    """COCO's plain run length, as crowds have it: lengths of zeros and ones by turns, column by column."""
    values = np.concatenate([[0], np.asarray(mask, np.uint8).ravel(order="F"), [2]])
    counts = np.diff(np.flatnonzero(np.diff(values, prepend=2)))
    counts[0] -= 1  # the zero put in front
    return {"size": list(mask.shape), "counts": counts.tolist()}


def context(root, ids):
    """trainval_merged.json: a run length for each category; 0 is what has none."""
    root.mkdir(parents=True, exist_ok=True)
    images, regions = [], []
    for number, (name, phase) in enumerate([("2008_000001", "val"), ("2008_000002", "val"), ("2008_000003", "train")]):
        picture(root / "VOC2010" / "JPEGImages" / f"{name}.jpg")
        images.append({"file_name": f"{name}.jpg", "image_id": number, "phase": phase, "height": 8, "width": 12})
        regions += [
            {"image_id": number, "category_id": one, "segmentation": runs(stripe == STRIPES)}
            for stripe, one in enumerate(ids)
            if one
        ]
    (root / "trainval_merged.json").write_text(json.dumps({"images": images, "annos_segmentation": regions}))


def coco_stuff(root, ids):
    for name in ("000000000139", "000000000285"):
        picture(root / "images" / "val2017" / f"{name}.jpg")
        grey(root / "annotations" / "val2017" / f"{name}.png", np.take(ids, STRIPES))
        grey(root / "annotations" / "val2017" / f"{name}_labelTrainIds.png", np.zeros((8, 12)))  # another tool's


def polygon(left, right):
    """A box of whole columns as COCO's polygon."""
    return [[left, 0, right, 0, right, 8, left, 8]]


def instances(root, ids, categories, file="annotations/instances_val2017.json", images="val2017"):
    """A crowd of the first id under everything, polygons and run lengths on it, a large instance under small ones."""
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    pictures, annotations = [], []
    for number, name in ((139, "000000000139"), (285, "000000000285")):
        picture(root / images / f"{name}.jpg")
        pictures.append(
            {
                "id": number,
                "file_name": f"{name}.jpg",
                "height": 8,
                "width": 12,
                "coco_url": f"http://images.cocodataset.org/val2017/{name}.jpg",
            }
        )
        parts = [
            (3, polygon(11, 12), 8, 0),
            (2, runs(STRIPES >= 2), 24, 0),
            (1, polygon(6, 12), 48, 0),
            (0, plain_runs(STRIPES >= 0), 96, 1),
        ]  # listed from the top down: the file's order must not matter
        annotations += [
            {
                "image_id": number,
                "category_id": ids[stripe],
                "segmentation": segmentation,
                "area": area,
                "iscrowd": crowd,
                "id": len(annotations) + i,
            }
            for i, (stripe, segmentation, area, crowd) in enumerate(parts)
            if ids[stripe]
        ]
    content = {"images": pictures, "annotations": annotations, "categories": categories}
    (root / file).write_text(json.dumps(content))


def imagenet_s(root, ids, tags):
    """A folder a WordNet tag, with a picture in the first two; the mask is RGB, id = R + 256 G."""
    folder = root / f"ImageNetS{len(tags)}"
    for tag in tags:
        (folder / "validation" / tag).mkdir(parents=True, exist_ok=True)
    for tag in tags[:2]:
        picture(folder / "validation" / tag / "ILSVRC2012_val_00000001.JPEG")
        raw = np.take(ids, STRIPES)
        mask = np.stack([raw % 256, raw // 256, np.zeros_like(raw)], -1).astype(np.uint8)
        path = folder / "validation-segmentation" / tag / "ILSVRC2012_val_00000001.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(path)
