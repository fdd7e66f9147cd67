"""PseudoMasks, the clusters of a picture: what each is like, how well they fit true classes, as pictures and JSON."""

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from scipy import ndimage

from sseg import images
from sseg.arguments import of_type
from sseg.errors import SSegValueError
from sseg.images import enlarge
from sseg.metrics import StreamingIoU, oracle_labels
from sseg.pseudo_masks.edges import follow
from sseg.pseudo_masks.feature_map import Features, inertias_of, means_of
from sseg.truth import read_ids_at


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
        inertias, outline, border = inertias_of(self.features, self.ids), *_outlines(self.ids)
        total, cells = self.features.total, self.ids.size
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
        means = means_of(self.features, self.ids)
        return torch.cdist(means, means).fill_diagonal_(torch.inf).argmin(1).tolist()

    def agreement(self, other: "PseudoMasks") -> float:
        """Adjusted Rand index of two divisions of a picture (Hubert and Arabie 1985): 1 is the same but for the ids,
        0 what chance gives. Counted over the cells of the finer grid. SSegError for pictures of different sizes."""
        from sklearn.metrics import adjusted_rand_score

        of_type(other, PseudoMasks, "Pseudo-masks are compared with pseudo-masks")
        if tuple(self.features.size) != tuple(other.features.size):
            raise SSegValueError("Two divisions can only be compared on the same picture: these have different sizes.")
        finer = np.maximum(self.ids.shape, other.ids.shape)
        return float(adjusted_rand_score(*(enlarge(one.ids, finer).ravel() for one in (self, other))))

    def against(self, truth, class_names: list[str] | None = None, ignore: int = 255, full_size=None) -> dict:
        """How well the clusters fit true classes, each cluster taking the class of most of its pixels (paper, section
        3, oracle): the figures of `train.evaluate --oracle` for this one picture.

        Args:
            truth: ids (H, W), or path or PNG bytes of a mask (see `truth.read_ids_at`).
            class_names: in id order; without them an id is its own name.
            ignore: the id of pixels that do not count.
            full_size: (H, W) of the picture before it was scaled down, which the mask may have, too.

        Returns:
            oracle_miou and pixel_accuracy (per cent, 2 decimals, None if nothing counts); classes that occur:
            [{"id", "name", "iou" (per cent), "area" (share of the picture)}]; assigned: the class id of each cluster,
            None where all its pixels are ignored; ignored: share of the picture.

        Raises:
            SSegError: the mask cannot be read, is in colour, has another size, or an id without a name.
        """
        if class_names is not None:
            of_type(class_names, (list, tuple), "Names of classes are a list of texts")
        truth = read_ids_at(truth, self.features.size, full_size).astype(np.int64)
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

    def id_png(self, size=None) -> bytes:
        """PNG of ids, as in `clusters`: a pixel of cluster i has the value i. `size`: as in `images.id_png`."""
        return images.id_png(self.labels - 1, size)

    def overlay(self, image, opacity: float = 0.55) -> np.ndarray:
        """The picture with the clusters' colours over it: uint8 (H, W, 3)."""
        rgb = images.read(image)
        if rgb.shape[:2] != tuple(self.features.size):
            raise SSegValueError("The overlay needs the picture that was clustered: this one has another size.")
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


def _outlines(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cell sides on each cluster's outline, the frame of the picture included; and those at another cluster."""
    padded = np.pad(ids, 1, constant_values=-1)
    beside = np.stack([padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]])  # (4, h, w)
    other = beside != ids
    all_sides, inner = other.sum(0), (other & (beside >= 0)).sum(0)
    return np.bincount(ids.ravel(), all_sides.ravel()), np.bincount(ids.ravel(), inner.ravel())


def _check_ids(present: np.ndarray, class_names) -> None:
    if present.size and present[0] < 0:
        raise SSegValueError(f"The mask holds the id {present[0]}: ids of classes begin with 0.")
    if class_names and present.size and present[-1] >= len(class_names):
        raise SSegValueError(
            f"The mask holds the id {present[-1]}, but there are names only for 0 to "
            f"{len(class_names) - 1}: add the name, or say which id to ignore."
        )


def _percent(share) -> float | None:
    return None if np.isnan(share) else round(100 * float(share), 2)
