"""Where in its region a name is best written, and without covering another name."""

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from sseg.export.cut_out import bounding_box

COARSE = 384  # pixels of the longer side at which places are looked for
TRIES = 24  # places in a region for a name


def spots(labels: np.ndarray, label: int, least: float) -> Iterator[tuple[float, float]]:
    """Points of a label's largest connected part, x and y in pixels: first the one farthest from the outline, then
    others, each in the middle of what the ones before leave.

    Args:
        labels: int (H, W).
        least: share of the image, 0..1, that the part must have; a smaller one has no place for a name.
    """
    step = max(1, -(-max(labels.shape) // COARSE))
    coarse = labels[step // 2 :: step, step // 2 :: step]
    mask = coarse == label
    box = bounding_box(mask)
    if box is None:
        return
    numbered, _count = ndimage.label(mask[box])
    sizes = np.bincount(numbered.ravel())[1:]
    if sizes.max() < least * coarse.size:
        return
    part = np.pad(numbered == sizes.argmax() + 1, 1)  # the image ends there as well
    depth = ndimage.distance_transform_edt(part)  # (h, w), in coarse pixels
    rows, columns = (np.arange(length)[:, None] for length in depth.shape)
    for _ in range(TRIES):
        y, x = np.unravel_index(depth.argmax(), depth.shape)
        if depth[y, x] == 0:
            return
        yield (box[1].start + x - 1) * step + step // 2, (box[0].start + y - 1) * step + step // 2
        away = np.hypot(rows - y, columns.T - x)
        depth = np.minimum(depth, away) * (away > 2)


def overlap(a: tuple, b: tuple) -> bool:
    """Whether two boxes (left, top, right, bottom) have a pixel in common."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
