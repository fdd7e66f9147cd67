"""Labels of Ultralytics' segmentation format: a polygon a line, with the number of its class.

Readers of the format fill polygons so that the pixels of the outline belong to them (OpenCV's `fillPoly`). Vertices are
therefore the outermost pixels of a region, and what is filled is the mask, pixel by pixel.
"""

import itertools
import json

import numpy as np
from contourpy import FillType, contour_generator

from sseg.export.cut_out import bounding_box

INSIDE = 0.25  # pixels: a vertex is the same pixel to readers that round and to readers that cut decimals off


def yolo_labels(labels: np.ndarray) -> str:
    """The text of labels/NAME.txt: "class x y x y ..." for each connected part, x and y in 0..1.

    A hole is joined to the outline by a line through the region, there and back, since the format has no holes. Empty
    where nothing was found: such an image is background to Ultralytics.

    Args:
        labels: int (H, W), -1 = background; label i is class i.

    Example:
        >>> Path("labels/dog.txt").write_text(yolo_labels(answer.labels))  # doctest: +SKIP
    """
    height, width = labels.shape
    lines = []
    for label in np.unique(labels):
        if label < 0:
            continue
        for polygon in polygons(labels == label):
            places = (polygon + INSIDE) / (width, height)
            lines.append(f"{label} " + " ".join(f"{value:.6f}" for value in places.ravel()) + "\n")
    return "".join(lines)


def yolo_data(phrases: list[str]) -> str:
    """The text of data.yaml: where images are and what the classes are called.

    All images serve for training and for validation: whoever trains divides them.
    """
    names = "".join(f"  {i}: {json.dumps(phrase, ensure_ascii=False)}\n" for i, phrase in enumerate(phrases))
    return f"train: images\nval: images\nnames:\n{names}"


def polygons(mask: np.ndarray) -> list[np.ndarray]:
    """Outlines of a mask, holes joined to them.

    Args:
        mask: bool (H, W).

    Returns:
        For each part (pixels that share a side) int (n, 2): x and y of pixels of the mask, n at least 3.
    """
    box = bounding_box(mask)
    if box is None:
        return []
    mask = np.pad(mask[box], 1)
    # A level of almost 1 runs through the pixels of the mask that touch another one, and parts at corners.
    generator = contour_generator(z=mask.astype(np.float64), name="serial", fill_type=FillType.OuterOffset)
    found = []
    for points, offsets in zip(*generator.filled(0.999, 2), strict=True):
        points = np.rint(points).astype(np.int64)
        rings = [points[start : end - 1] for start, end in itertools.pairwise(offsets)]  # closed: less one
        corner = np.array([box[1].start - 1, box[0].start - 1])
        found.append(_straightened(_joined(rings, mask)) + corner)
    return found


def _joined(rings: list[np.ndarray], mask: np.ndarray) -> np.ndarray:
    """An outline and the holes in it as one ring, holes from left to right.

    What lies left of a hole's leftmost pixel is the outline, or a hole that was joined before.
    """
    ring = rings[0]
    for hole in sorted(rings[1:], key=lambda one: one[:, 0].min()):
        start = int(hole[:, 0].argmin())
        x, y = hole[start]
        left = np.flatnonzero(~mask[y, :x])[-1] + 1  # the padding ends every row
        place = int(np.flatnonzero((ring == (left, y)).all(1))[0])
        ring = np.concatenate([ring[: place + 1], hole[start:], hole[: start + 1], ring[place:]])
    return ring


def _straightened(ring: np.ndarray) -> np.ndarray:
    """Without vertices that lie on a straight line between their neighbours; at least three of them."""
    start = ring[:1]
    ring = ring[(ring != np.roll(ring, 1, 0)).any(1)]  # each pixel once
    if len(ring):
        steps = np.sign(np.roll(ring, -1, 0) - ring)
        ring = ring[(steps != np.roll(steps, 1, 0)).any(1)]
    else:
        ring = start  # a single pixel
    return np.concatenate([ring, np.repeat(ring[-1:], max(0, 3 - len(ring)), 0)])
