"""Pseudo-masks to look at: encode(picture) -> Features; cluster(features, k) -> PseudoMasks and how good they are.

Training makes its masks with `sseg.pseudo_masks`; this shows the same clusters to people and judges them.
"""

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from sseg import devices, images
from sseg import features as sources
from sseg.errors import SSegError
from sseg.kmeans import kmeans
from sseg.metrics import StreamingIoU, oracle_labels
from sseg.outlines import colours, follow
from sseg.pseudo_masks import grid_of
from sseg.truth import read_ids

METHODS = ("kmeans", "spectral")
OUTLINES = ("cells", "picture")
RESOLUTIONS = (64, 1024)  # pixels, least and most
STEPS = 20  # most Lloyd iterations, as in `train.evaluate --oracle`
NEIGHBOURS = 10  # of a cell in the graph of spectral clustering
SILHOUETTE_K = range(2, 13)  # the K that a silhouette chooses from
SAMPLE = 500  # cells that a silhouette is measured on
COMPONENT_FLOOR = 0.02  # a principal component narrower than this, beside the first, is not stretched: it is noise


@dataclass(frozen=True, eq=False)
class Features:
    """What K-Means sees of a picture: one vector a cell."""

    tokens: Tensor = field(repr=False)  # (h, w, d) float32, on the CPU
    colours: Tensor = field(repr=False)  # of the picture, for outlines: `sseg.outlines.colours`
    size: tuple[int, int]  # (H, W) of the picture
    source: str  # name of the feature source
    label: str  # what that is, in a few words
    facet: str
    resolution: int  # a square picture of that many pixels has these cells, 8 x 8 pixels each

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of cells."""
        return tuple(self.tokens.shape[:2])

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return self.tokens.nbytes + self.colours.nbytes

    @cached_property
    def _centred(self) -> Tensor:  # (T, d), mean 0
        flat = self.tokens.flatten(0, 1)
        return flat - flat.double().mean(0).float()  # in doubles, so that equal features have exactly 0

    @cached_property
    def _total(self) -> float:
        """Inertia of one cluster: sum of squared distances of all cells to their mean."""
        return float(self._centred.double().square().sum())

    def pca(self) -> np.ndarray:
        """The first three principal components as red, green and blue: uint8 (h, w, 3).

        Each is stretched between its 1st and 99th percentile. Signs are scikit-learn's (the greatest loading is
        positive), so the same features have the same colours.
        """
        from sklearn.decomposition import PCA

        x = self._centred.numpy()
        count = min(3, *x.shape)
        shades = np.full((len(x), 3), 0.5)
        if self._total > 0:
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
        unit = F.normalize(self._centred, dim=1)
        return (unit @ unit[row * columns + column]).clamp(-1, 1).view(self.grid).numpy()

    def elbow(self, ks: Iterable[int], seed: int = 0) -> list[dict]:
        """How well each K divides the picture: {"k", "unexplained", "silhouette"}.

        unexplained: inertia over the inertia of one cluster, 0..1. silhouette: -1..1 (Rousseeuw 1987), by
        scikit-learn on 500 cells drawn by the seed; None where it has no meaning (one cluster, or one a cell).
        """
        ks = [_clusters(k, self.grid) for k in ks]
        sample = np.random.default_rng(_seed(seed)).permutation(len(self._centred))[:SAMPLE]
        distances = torch.cdist(*[self._centred[sample].double()] * 2).fill_diagonal_(0).numpy()
        rows = []
        for k in ks:
            ids = _kmeans(self, k, seed)
            unexplained = _inertias(self, ids).sum() / self._total if self._total else 0.0
            rows.append({"k": k, "unexplained": float(unexplained), "silhouette": _silhouette(distances, ids[sample])})
        return rows

    def best_k(self, ks: Iterable[int] = SILHOUETTE_K, seed: int = 0) -> int:
        """The K with the greatest silhouette; the smallest of them on a tie, or where all cells are alike."""
        rows = self.elbow([k for k in sorted(ks) if k < len(self._centred)], seed)
        if not rows:
            raise SSegError(f"There is no K to choose from that is below the {len(self._centred)} cells.")
        return max(rows, key=lambda row: -2 if row["silhouette"] is None else row["silhouette"])["k"]


class PseudoMasker:
    """A feature source and K-Means. Holds no state between calls, so threads may share one."""

    def __init__(self, features="auto", facet: str | None = None, device="auto"):
        """The arguments of `sseg.features.source`; device "auto" is cuda, else mps, else cpu.

        Raises SSegError for an unknown source, facet or device.
        """
        self.device = devices.pick(device)
        self.source = sources.source(features, facet, self.device)
        self.name, self.label = self.source.name, self.source.label
        self.note = self.source.note  # one sentence if "auto" chose the source: which, and why
        self.facet = facet or self.source.facets[0]

    def __call__(self, image, k: int = 8, seed: int = 0, resolution: int = 448, method="kmeans",
                 outlines="cells") -> "PseudoMasks":  # fmt: skip
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
        grid = grid_of(*rgb.shape[:2], resolution)
        tokens = self.source(pixels, grid)[0].float().cpu()  # (h, w, d)
        seen = colours(pixels[0], grid).cpu()
        return Features(tokens, seen, rgb.shape[:2], self.name, self.label, self.facet, resolution)

    def cluster(self, found: Features, k: int = 8, seed: int = 0, method="kmeans", outlines="cells") -> "PseudoMasks":
        """Divide the cells into at most `k` clusters of alike features; the same arguments give the same clusters.

        Args:
            method: "kmeans" (what training uses), or "spectral": normalised cuts of the graph of nearest neighbours,
                for comparison only: takes seconds.
            outlines: "cells" (what training uses), or "picture": the labels of pixels follow its colours
                (`sseg.outlines`).

        Raises:
            SSegError: k below 1 or above the number of cells, an unknown method or kind of outlines, features that are
                not finite.
        """
        k, seed = _clusters(k, found.grid), _seed(seed)
        _check_method(method)
        _check_outlines(outlines)
        ids = _kmeans(found, k, seed) if method == "kmeans" else _spectral(found, k, seed)
        ids = _by_area(ids)
        inertia = float(_inertias(found, ids).sum())
        return PseudoMasks(ids.reshape(found.grid), found, k, seed, method, inertia, outlines)


@dataclass(frozen=True, eq=False)
class PseudoMasks:
    """The clusters of a picture's cells, the biggest first. A cluster may be several separate pieces; clusters that
    got no cell, as on a picture of one colour, do not occur, so there may be fewer than k."""

    ids: np.ndarray = field(repr=False)  # (h, w) int64: 0 is the cluster of most cells
    features: Features
    k: int  # clusters that were asked for
    seed: int
    method: str
    inertia: float  # sum of squared distances of the cells to the means of their clusters
    outlines: str = "cells"  # what those of `fine` and `labels` follow

    @property
    def count(self) -> int:
        """Clusters found: `k`, or fewer."""
        return int(self.ids.max()) + 1

    @cached_property
    def fine(self) -> np.ndarray:
        """The ids that pixels take theirs from: `ids`, or (4 h, 4 w) int64 with outlines that follow the picture."""
        if self.outlines == "cells":
            return self.ids
        return follow(torch.from_numpy(self.ids), self.features.colours).numpy()

    @cached_property
    def labels(self) -> np.ndarray:
        """(H, W) int32: the id of each pixel. Where outlines follow the picture, a cluster of very few cells may have
        none."""
        return enlarge(self.fine, self.features.size).astype(np.int32)

    @cached_property
    def clusters(self) -> list[dict]:
        """What each cluster is like, in the order of ids:

        id: 0 is the biggest. area: share of the picture's cells. spread: root mean square distance of its cells to
        their mean, over that of all cells to theirs (1 is no better than one cluster). inertia: its share of all
        inertia. compactness: 4 pi area / outline^2, in cells, of all pieces together; 1 is a disc, low is thin or
        scattered. pieces: parts connected by their sides. nearest: id of the cluster with the nearest mean, None if
        there is no other. border: share of its cells' sides that touch another cluster; a line of cells has 0.5.
        """
        counts = np.bincount(self.ids.ravel())  # cells
        inertias, outline, border = _inertias(self.features, self.ids), *_outlines(self.ids)
        total, cells = self.features._total, self.ids.size
        spread = np.sqrt(inertias / counts / (total / cells)) if total else np.zeros(self.count)
        shares = inertias / inertias.sum() if inertias.sum() > 0 else np.zeros(self.count)
        nearest = self._nearest()
        return [
            {
                "id": i,
                "area": float(counts[i] / cells),
                "spread": float(spread[i]),
                "inertia": float(shares[i]),
                "compactness": float(min(1, 4 * math.pi * counts[i] / outline[i] ** 2)),
                "pieces": int(ndimage.label(self.ids == i)[1]),
                "nearest": nearest[i],
                "border": float(border[i] / (4 * counts[i])),
            }
            for i in range(self.count)
        ]

    def _nearest(self) -> list[int | None]:
        if self.count == 1:
            return [None]
        means = _means(self.features, self.ids)
        return torch.cdist(means, means).fill_diagonal_(torch.inf).argmin(1).tolist()

    def agreement(self, other: "PseudoMasks") -> float:
        """Adjusted Rand index of two divisions of a picture (Hubert and Arabie 1985): 1 is the same but for the ids,
        0 what chance gives. Counted over the cells of the finer grid. SSegError for pictures of different sizes."""
        from sklearn.metrics import adjusted_rand_score

        if tuple(self.features.size) != tuple(other.features.size):
            raise SSegError("Two divisions can only be compared on the same picture: these have different sizes.")
        finer = np.maximum(self.ids.shape, other.ids.shape)
        return float(adjusted_rand_score(*(enlarge(one.ids, finer).ravel() for one in (self, other))))

    def against(self, truth, class_names: list[str] | None = None, ignore: int = 255) -> dict:
        """How well the clusters fit true classes, each cluster taking the class of most of its pixels (paper, section
        3, oracle): the figures of `train.evaluate --oracle` for this one picture.

        Args:
            truth: ids (H, W), or path or PNG bytes of a mask (see `truth.read_ids`).
            class_names: in id order; without them an id is its own name.
            ignore: the id of pixels that do not count.

        Returns:
            oracle_miou and pixel_accuracy (per cent, 2 decimals, None if nothing counts); classes that occur:
            [{"id", "name", "iou" (per cent), "area" (share of the picture)}]; assigned: the class id of each cluster,
            None where all its pixels are ignored; ignored: share of the picture.

        Raises:
            SSegError: the mask cannot be read, is in colour, has another size, or an id without a name.
        """
        truth = _truth(truth, self.features.size)
        counted = truth != ignore
        present, areas = np.unique(truth[counted], return_counts=True)
        _check_ids(present, class_names)
        places = np.where(counted, np.searchsorted(present, truth), -1)
        labels = oracle_labels(self.labels, places, ignore=-1)
        metric = StreamingIoU(max(1, len(present)))
        metric.update(labels, places, ignore=-1)
        scores = metric.compute()
        winners = np.full(self.count, -1)  # a picture of few pixels may not show all clusters
        winners[self.labels] = labels  # the same for all pixels of a cluster
        classes = [
            {
                "id": int(present[i]),
                "name": str(class_names[present[i]] if class_names else present[i]),
                "iou": _percent(scores["per_class"][i]),
                "area": float(areas[i] / truth.size),
            }
            for i in range(len(present))
        ]
        return {
            "oracle_miou": _percent(scores["miou"]),
            "pixel_accuracy": _percent(scores["pixel_accuracy"]),
            "classes": classes,
            "assigned": [int(present[i]) if i >= 0 else None for i in winners],
            "ignored": float(1 - counted.mean()),
        }

    def id_png(self) -> bytes:
        """PNG of ids, as in `clusters`: a pixel of cluster i has the value i."""
        return images.id_png(self.labels - 1)

    def overlay(self, image, opacity: float = 0.55) -> np.ndarray:
        """The picture with the clusters' colours over it: uint8 (H, W, 3)."""
        rgb = images.read(image)
        if rgb.shape[:2] != tuple(self.features.size):
            raise SSegError("The overlay needs the picture that was clustered: this one has another size.")
        if not 0 <= opacity <= 1:
            raise SSegError(f"The opacity must lie between 0 and 1, not at {opacity:g}.")
        return images.overlay(rgb, self.labels, images.colors(self.count), opacity)

    def rle(self) -> list[dict]:
        """COCO run lengths of each cluster: {"size": [H, W], "counts": str}."""
        return [images.rle(self.labels == i) for i in range(self.count)]

    def to_json(self) -> dict:
        """All of it but the features, ready for `json.dumps`."""
        found = self.features
        return {
            "features": found.source,
            "facet": found.facet,
            "resolution": found.resolution,
            "grid": list(found.grid),
            "size": list(found.size),
            "k": self.k,
            "seed": self.seed,
            "method": self.method,
            "outlines": self.outlines,
            "inertia": self.inertia,
            "clusters": [{**row, "rle": rle} for row, rle in zip(self.clusters, self.rle(), strict=True)],
        }


# ---- clustering --------------------------------------------------------------------------------------------------
def _kmeans(found: Features, k: int, seed: int) -> np.ndarray:  # (T,) ids
    return kmeans(found.tokens.flatten(0, 1)[None], k, steps=STEPS, seeds=seed).labels[0].numpy()


def _spectral(found: Features, k: int, seed: int) -> np.ndarray:  # (T,) ids
    from sklearn.cluster import SpectralClustering

    x = found._centred.numpy()
    if not np.isfinite(x).all():
        raise SSegError("The features are not finite (NaN or infinity): look at what made them.")
    if k == 1 or found._total == 0:
        return np.zeros(len(x), np.int64)
    if k > len(x) // 2:
        raise SSegError(f"Spectral clustering makes at most {len(x) // 2} clusters of {len(x)} cells, not {k}.")
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


def _means(found: Features, ids: np.ndarray) -> Tensor:  # (C, d), relative to the mean of all cells
    members = F.one_hot(torch.from_numpy(ids.ravel())).float()  # (T, C)
    return members.T @ found._centred / members.sum(0)[:, None].clamp_min(1)


def _inertias(found: Features, ids: np.ndarray) -> np.ndarray:
    """Sum of squared distances of each cluster's cells to their mean: (C,) float64."""
    squares = (found._centred - _means(found, ids)[torch.from_numpy(ids.ravel())]).square().sum(1)
    return np.bincount(ids.ravel(), squares.double().numpy())


def _silhouette(distances: np.ndarray, ids: np.ndarray) -> float | None:
    from sklearn.metrics import silhouette_score

    if not 2 <= len(np.unique(ids)) < len(ids):
        return None
    return float(silhouette_score(distances, ids, metric="precomputed"))


# ---- shapes and sizes --------------------------------------------------------------------------------------------
def enlarge(cells: np.ndarray, size) -> np.ndarray:
    """What is at the cell of each pixel, (h, w, ...) -> (H, W, ...), by the rule of `metrics.oracle_update`."""
    rows, columns = (np.arange(n) * count // n for n, count in zip(size, cells.shape[:2], strict=True))
    return cells[rows[:, None], columns]


def _outlines(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cell sides on each cluster's outline, the frame of the picture included; and those at another cluster."""
    padded = np.pad(ids, 1, constant_values=-1)
    beside = np.stack([padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]])  # (4, h, w)
    other = beside != ids
    sides = (other.sum(0), (other & (beside >= 0)).sum(0))
    return tuple(np.bincount(ids.ravel(), count.ravel()) for count in sides)


# ---- arguments ---------------------------------------------------------------------------------------------------
def check(k: int = 8, seed: int = 0, resolution: int = 448, method="kmeans", outlines="cells") -> None:
    """Raise SSegError for settings that no square picture can be clustered with, before any picture is there."""
    _clusters(k, grid_of(1, 1, _resolution(resolution)))
    _seed(seed)
    _check_method(method)
    _check_outlines(outlines)


def whole(value, what: str, low: int, high: int, of: str = "") -> int:
    """A whole number between two others, or one sentence; 8.0 is whole, NaN is not."""
    try:
        number = int(value)
        fits = number == value and low <= number <= high
    except (TypeError, ValueError, OverflowError):
        fits = False
    if not fits:
        limit = f"{high} ({of})" if of else high
        raise SSegError(f"{what} must be a whole number from {low} to {limit}, not {str(value):.40}.")
    return number


def _clusters(k, grid) -> int:
    return whole(k, "The number of clusters K", 1, grid[0] * grid[1], "the cells of the picture")


def _resolution(resolution) -> int:
    return whole(resolution, "The resolution", *RESOLUTIONS)


def _check_method(method) -> None:
    if method not in METHODS:
        raise SSegError(f"There is no method {method!r}: choose {' or '.join(METHODS)}.")


def _check_outlines(kind) -> None:
    if kind not in OUTLINES:
        raise SSegError(f"Outlines follow {' or '.join(OUTLINES)}, not {kind!r:.40}: choose one of these.")


def _seed(seed) -> int:
    return whole(seed, "The seed", 0, 2**32 - 1)


def _truth(truth, size) -> np.ndarray:
    """Ids (H, W) of the picture's size."""
    ids = read_ids(truth) if isinstance(truth, (str, bytes)) or hasattr(truth, "__fspath__") else np.asarray(truth)
    if ids.ndim != 2 or not (np.issubdtype(ids.dtype, np.integer) or ids.dtype == bool):
        raise SSegError(f"True classes are whole numbers (H, W), not {ids.dtype} {ids.shape}.")
    if ids.shape != tuple(size):
        raise SSegError(f"The mask has {ids.shape[1]} x {ids.shape[0]} pixels, the picture {size[1]} x {size[0]}: "
                        "make them one size.")
    return ids.astype(np.int64)


def _check_ids(present: np.ndarray, class_names) -> None:
    if present.size and present[0] < 0:
        raise SSegError(f"The mask holds the id {present[0]}: ids of classes begin with 0.")
    if class_names and present.size and present[-1] >= len(class_names):
        raise SSegError(f"The mask holds the id {present[-1]}, but there are names only for 0 to "
                        f"{len(class_names) - 1}: add the name, or say which id to ignore.")


def _percent(share) -> float | None:
    return None if np.isnan(share) else round(100 * float(share), 2)
