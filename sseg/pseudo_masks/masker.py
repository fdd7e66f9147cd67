"""Pseudo-masks to look at: encode(picture) -> Features; cluster(features, k) -> PseudoMasks and how good they are.

Training makes its masks with `sseg.pseudo_masks.generate`; this shows the same clusters to people and judges them.
"""

import warnings

import numpy as np
import torch

from sseg import devices, images
from sseg import features as sources
from sseg.arguments import cluster_count, of_type, seed_number, whole
from sseg.cost import check_spectral
from sseg.errors import SSegError, SSegValueError
from sseg.pseudo_masks.edges import colours
from sseg.pseudo_masks.feature_map import Features, inertias_of, kmeans_ids
from sseg.pseudo_masks.generate import grid_of
from sseg.pseudo_masks.result import PseudoMasks

METHODS = ("kmeans", "spectral")
OUTLINES = ("cells", "picture")
RESOLUTIONS = (64, 1024)  # pixels, least and most
NEIGHBOURS = 10  # of a cell in the graph of spectral clustering


class PseudoMasker:
    """A feature source and K-Means. Holds no state between calls, so threads may share one."""

    def __init__(self, features="auto", facet: str | None = None, device="auto", fetch: bool = True):
        """The arguments of `sseg.features.source`; device "auto" is cuda, else mps, else cpu.

        Raises SSegError for an unknown source, facet or device.
        """
        self.device = devices.pick(device)
        self.source = sources.source(features, facet, self.device, fetch)
        self.name, self.label = self.source.name, self.source.label
        self.note = self.source.note  # one sentence if "auto" chose the source: which, and why
        self.facet = facet or self.source.facets[0]

    def __call__(self, image, k: int = 8, seed: int = 0, resolution: int = 448, method="kmeans",
                 outlines="cells") -> PseudoMasks:  # fmt: skip
        """Encode and cluster in one step."""
        return self.cluster(self.encode(image, resolution), k, seed, method, outlines)

    @torch.inference_mode()
    def encode(self, image, resolution: int = 448) -> Features:
        """Features of a picture's cells, once for every K.

        Args:
            image: what `images.read` takes; over 16 megapixels it is scaled down, labels then have that size.
            resolution: 64..1024; a square picture gets (resolution / 8)^2 cells, others as many in their proportions.

        Raises:
            SSegError: not a picture, or a resolution outside of that.
        """
        resolution = _resolution(resolution)
        rgb = images.read(image)
        pixels = torch.from_numpy(rgb).permute(2, 0, 1)[None].contiguous().to(self.device)
        height, width = rgb.shape[:2]
        grid = grid_of(height, width, resolution)
        tokens = self.source(pixels, grid)[0].float().cpu()  # (h, w, d)
        seen = colours(pixels[0], grid).cpu()
        return Features(tokens, seen, rgb.shape[:2], self.name, self.label, self.facet, resolution)

    def cluster(self, found: Features, k: int = 8, seed: int = 0, method="kmeans", outlines="cells") -> PseudoMasks:
        """Divide the cells into at most `k` clusters of alike features; the same arguments give the same clusters.

        Args:
            method: "kmeans" (what training uses), or "spectral": normalised cuts of the graph of nearest neighbours,
                for comparison only: takes seconds.
            outlines: "cells" (what training uses), or "picture": the labels of pixels follow its colours
                (`sseg.pseudo_masks.edges`).

        Raises:
            SSegError: k below 1, above the number of cells or too much work (`sseg.cost`), an unknown method or kind of
                outlines, features that are not finite.
        """
        of_type(found, Features, "What is divided is what encode(picture) gave")
        k, seed = cluster_count(k, found.grid), seed_number(seed)
        _check_method(method)
        _check_outlines(outlines)
        ids = kmeans_ids(found, k, seed) if method == "kmeans" else _spectral(found, k, seed)
        ids = _by_area(ids)
        inertia = float(inertias_of(found, ids).sum())
        return PseudoMasks(ids.reshape(found.grid), found, k, seed, method, inertia, outlines)


def _spectral(found: Features, k: int, seed: int) -> np.ndarray:  # (T,) ids
    from sklearn.cluster import SpectralClustering

    check_spectral(k, found.grid[0] * found.grid[1])
    x = found.centred.numpy()
    if not np.isfinite(x).all():
        raise SSegError("The features are not finite (NaN or infinity): look at what made them.")
    if k == 1 or found.total == 0:
        return np.zeros(len(x), np.int64)
    if k > len(x) // 2:
        raise SSegValueError(f"Spectral clustering makes at most {len(x) // 2} clusters of {len(x)} cells, not {k}.")
    neighbours = min(NEIGHBOURS, len(x))
    method = SpectralClustering(k, random_state=seed, affinity="nearest_neighbors", n_neighbors=neighbours)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Graph is not fully connected")  # alike cells may well be an island
        return method.fit_predict(x).astype(np.int64)


def _by_area(ids: np.ndarray) -> np.ndarray:
    """Ids anew: 0 has the most cells, of equals the one that comes first; those without cells are dropped."""
    _, first, old, counts = np.unique(ids, return_index=True, return_inverse=True, return_counts=True)
    place = np.empty(len(first), np.int64)
    place[np.lexsort((first, -counts))] = np.arange(len(first))
    return place[old]


def check(k: int = 8, seed: int = 0, resolution: int = 448, method="kmeans", outlines="cells") -> None:
    """Raise SSegError for settings that no square picture can be clustered with, before any picture is there."""
    rows, columns = grid = grid_of(1, 1, _resolution(resolution))
    k = cluster_count(k, grid)
    seed_number(seed)
    _check_method(method)
    if method == "spectral":
        check_spectral(k, rows * columns)
    _check_outlines(outlines)


def _resolution(resolution) -> int:
    return whole(resolution, "The resolution", *RESOLUTIONS)


def _check_method(method) -> None:
    if not isinstance(method, str) or method not in METHODS:
        raise SSegValueError(f"There is no method {method!r:.40}: choose {' or '.join(METHODS)}.")


def _check_outlines(outlines) -> None:
    if not isinstance(outlines, str) or outlines not in OUTLINES:
        raise SSegValueError(f"Outlines follow {' or '.join(OUTLINES)}, not {outlines!r:.40}: choose one of these.")
