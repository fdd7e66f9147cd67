"""What K-Means sees of a picture: one feature vector a cell, and what they look like."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sseg.arguments import cluster_count, of_type, seed_number, whole
from sseg.cost import CURVE
from sseg.errors import SSegValueError
from sseg.pseudo_masks.kmeans import kmeans

MOST_KS = 1000  # numbers of clusters tried at once
STEPS = 20  # most Lloyd iterations, as in `train.evaluate --oracle`
SILHOUETTE_K = range(2, 13)  # the K that a silhouette chooses from
SAMPLE = 500  # cells that a silhouette is measured on
COMPONENT_FLOOR = 0.02  # a principal component narrower than this, beside the first, is not stretched: it is noise


@dataclass(frozen=True, eq=False)
class Features:
    """What K-Means sees of a picture: one vector a cell."""

    tokens: Tensor = field(repr=False)  # (h, w, d) float32, on the CPU
    colours: Tensor = field(repr=False)  # of the picture, for outlines: `sseg.pseudo_masks.edges.colours`
    size: tuple[int, int]  # (H, W) of the picture
    source: str  # name of the feature source
    label: str  # what that is, in a few words
    facet: str
    resolution: int  # a square picture of that many pixels has these cells, 8 x 8 pixels each

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of cells."""
        rows, columns = self.tokens.shape[:2]
        return rows, columns

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return self.tokens.nbytes + self.colours.nbytes

    @cached_property
    def centred(self) -> Tensor:
        """(T, d): the features of all cells, with mean 0."""
        flat = self.tokens.flatten(0, 1)
        return flat - flat.double().mean(0).float()  # in doubles, so that equal features have exactly 0

    @cached_property
    def total(self) -> float:
        """Inertia of one cluster: sum of squared distances of all cells to their mean."""
        return float(self.centred.double().square().sum())

    def pca(self) -> np.ndarray:
        """The first three principal components as red, green and blue: uint8 (h, w, 3).

        Each is stretched between its 1st and 99th percentile. Signs are scikit-learn's (the greatest loading is
        positive), so the same features have the same colours.
        """
        from sklearn.decomposition import PCA

        x = self.centred.numpy()
        count = min(3, *x.shape)
        shades = np.full((len(x), 3), 0.5)
        if self.total > 0:
            values = PCA(count, svd_solver="covariance_eigh").fit_transform(x)
            low, high = np.percentile(values, (1, 99), axis=0)
            span = np.maximum(high - low, COMPONENT_FLOOR * (high - low).max())
            shades[:, :count] = (values - (low + high) / 2) / np.maximum(span, 1e-12) + 0.5
        return np.round(shades.clip(0, 1) * 255).astype(np.uint8).reshape(*self.grid, 3)

    def similarity(self, row: int, column: int) -> np.ndarray:
        """How alike each cell is to cell (row, column): cosine of the features less their mean over the picture,
        float32 (h, w) in [-1, 1]; 0 where a feature is the mean itself. SSegError for a cell outside of the grid."""
        rows, columns = self.grid
        row, column = whole(row, "The row", 0, rows - 1), whole(column, "The column", 0, columns - 1)
        unit = F.normalize(self.centred, dim=1)
        return (unit @ unit[row * columns + column]).clamp(-1, 1).view(self.grid).numpy()

    def elbow(self, ks: Iterable[int], seed: int = 0) -> list[dict]:
        """How well each K divides the picture: {"k", "unexplained", "silhouette"}.

        unexplained: inertia over the inertia of one cluster, 0..1. silhouette: -1..1 (Rousseeuw 1987), by
        scikit-learn on 500 cells drawn by the seed; None where it has no meaning (one cluster, or one a cell).
        """
        ks = [cluster_count(k, self.grid) for k in _few(ks)]
        if sum(ks) * len(self.centred) > CURVE:
            raise SSegValueError(
                "So many numbers of clusters take too long together: try fewer of them, or smaller ones."
            )
        sample = np.random.default_rng(seed_number(seed)).permutation(len(self.centred))[:SAMPLE]
        cells = self.centred[sample].double()
        distances = torch.cdist(cells, cells).fill_diagonal_(0).numpy()
        rows = []
        for k in ks:
            ids = kmeans_ids(self, k, seed)
            unexplained = inertias_of(self, ids).sum() / self.total if self.total else 0.0
            rows.append({"k": k, "unexplained": float(unexplained), "silhouette": _silhouette(distances, ids[sample])})
        return rows

    def best_k(self, ks: Iterable[int] = SILHOUETTE_K, seed: int = 0) -> int:
        """The K with the greatest silhouette; the smallest of them on a tie, or where all cells are alike."""
        rows = self.elbow([k for k in sorted(_few(ks)) if k < len(self.centred)], seed)
        if not rows:
            raise SSegValueError(f"There is no K to choose from that is below the {len(self.centred)} cells.")
        return max(rows, key=lambda row: -2 if row["silhouette"] is None else row["silhouette"])["k"]


def _few(ks) -> list[int]:
    """The whole numbers of a list or range; an endless iterator is cut off."""
    of_type(ks, Iterable, "The numbers of clusters are a list of whole numbers")
    ks = list(islice(ks, MOST_KS + 1))
    if len(ks) > MOST_KS:
        raise SSegValueError(f"Over {MOST_KS} numbers of clusters are too many at once: try fewer.")
    return [whole(k, "The number of clusters K", 1, 2**31) for k in ks]


def kmeans_ids(found: Features, k: int, seed: int) -> np.ndarray:
    """The cluster of each cell: (T,) int64 in 0..k - 1."""
    return kmeans(found.tokens.flatten(0, 1)[None], k, steps=STEPS, seeds=seed).labels[0].numpy()


def means_of(found: Features, ids: np.ndarray) -> Tensor:
    """Mean feature of each cluster, relative to that of all cells: (C, d)."""
    members = F.one_hot(torch.from_numpy(ids.ravel())).float()  # (T, C)
    return members.T @ found.centred / members.sum(0)[:, None].clamp_min(1)


def inertias_of(found: Features, ids: np.ndarray) -> np.ndarray:
    """Sum of squared distances of each cluster's cells to their mean: (C,) float64."""
    squares = (found.centred - means_of(found, ids)[torch.from_numpy(ids.ravel())]).square().sum(1)
    return np.bincount(ids.ravel(), squares.double().numpy())


def _silhouette(distances: np.ndarray, ids: np.ndarray) -> float | None:
    from sklearn.metrics import silhouette_score

    if not 2 <= len(np.unique(ids)) < len(ids):
        return None
    return float(silhouette_score(distances, ids, metric="precomputed"))
