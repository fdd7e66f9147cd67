"""Clusters as cells of a grid: their colours, their most typical cell, and what a cell is alike."""

import numpy as np
from PIL import Image
from scipy.optimize import linear_sum_assignment

from sseg import images

ALIKE = 0.5  # similarity from which cells are called alike


def palette_places(ids, before=None, places=None) -> list[int]:
    """Place in the palette of each cluster in ids (h, w): so that clusters keep their colour while K changes.

    before (h, w) are earlier ids of the same cells, places their clusters' places; a cluster takes over the place of
    the earlier one that it shares most cells with, one to one; the others get the first places that are free.
    """
    count = int(ids.max()) + 1
    if before is None:
        return list(range(count))
    shared = np.zeros((count, int(before.max()) + 1), np.int64)
    np.add.at(shared, (ids.ravel(), before.ravel()), 1)
    taken = {int(i): places[j] for i, j in zip(*linear_sum_assignment(-shared), strict=True) if shared[i, j]}
    free = (place for place in range(2 * count + len(places)) if place not in taken.values())
    return [taken[i] if i in taken else next(free) for i in range(count)]


def palette(places) -> np.ndarray:
    """uint8 (K, 3) of palette places."""
    return images.colors(max(places) + 1)[places]


def segments(masks, places) -> list[dict]:
    """What the viewer's legend says of each cluster; its `id` is one more, since 0 is nothing there."""
    return [
        {**one, "id": one["id"] + 1, "phrase": f"Cluster {one['id']}", "color": color}
        for one, color in zip(masks.clusters, palette(places).tolist(), strict=True)
    ]


def typicality(masks) -> np.ndarray:
    """(h, w) float32 in 0..1: 1 at a cluster's centre, 0 at its cell that is farthest from the centre."""
    tokens, ids = masks.features.tokens.numpy(), masks.ids  # (h, w, d), (h, w)
    away = np.zeros(ids.shape, np.float32)
    for i in range(int(ids.max()) + 1):
        own = tokens[ids == i]  # (n, d)
        away[ids == i] = np.linalg.norm(own - own.mean(0), axis=1)
        away[ids == i] /= max(float(away[ids == i].max(initial=0)), 1e-9)
    return 1 - away


def fitted(picture: Image.Image, side: int) -> Image.Image:
    """A copy whose longer side is `side`; cells stay squares when a picture of cells is made bigger."""
    factor = side / max(picture.size)
    method = Image.Resampling.NEAREST if factor > 1 else Image.Resampling.BILINEAR
    return picture.resize([max(1, round(factor * length)) for length in picture.size], method)


def compare(masks, row, column):
    """Similarity (h, w) of one cell to all, and what it says: its cluster, the mean similarity to each cluster."""
    similarity = masks.features.similarity(row, column)
    count = int(masks.ids.max()) + 1
    means = [round(float(similarity[masks.ids == i].mean()), 4) for i in range(count)]
    return similarity, {
        "row": row,
        "column": column,
        "cluster": int(masks.ids[row, column]),
        "clusters": [{"id": i, "similarity": mean} for i, mean in enumerate(means)],
        "alike": round(float((similarity >= ALIKE).mean()), 4),
    }
