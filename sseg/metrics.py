"""How well label maps agree with the truth: streaming mIoU, pixel accuracy, boundary IoU, oracle labels of clusters."""

import numpy as np
from scipy.ndimage import maximum_filter, minimum_filter

from sseg.arguments import whole
from sseg.errors import SSegError, SSegValueError

_MATRIX = 512  # most classes whose pairs are counted in one matrix


class StreamingIoU:
    """Intersections and unions summed over a whole set, as mmsegmentation's IoUMetric does.

    IoU of a class is its summed intersection over its summed union; mIoU is the mean over the classes that occur in
    the truth or in the predictions of any picture (a class predicted but never true scores 0).
    """

    def __init__(self, num_classes):
        self.num_classes = num_classes = whole(num_classes, "The number of classes", 1, 10_000_000)
        self.intersection = np.zeros(num_classes, np.int64)  # pixels
        self.predicted = np.zeros(num_classes, np.int64)
        self.true = np.zeros(num_classes, np.int64)
        self.ignored = 0  # pixels whose truth does not count

    def update(self, pred_labels, true_labels, ignore=255):
        """Count one picture (or a stack of them): two integer maps of one shape.

        Pixels whose truth is `ignore` do not count. A prediction outside 0..num_classes-1 (say -1, background) is a
        miss of the true class and a hit of none. Raises SSegError for truth outside the classes.
        """
        pred, true = np.asarray(pred_labels), np.asarray(true_labels)
        if pred.shape != true.shape:
            raise SSegValueError(f"Predicted labels {pred.shape} and true labels {true.shape} differ in size.")
        counted = true != ignore
        pred, true = pred[counted], true[counted]
        self.ignored += counted.size - true.size
        if true.size and (true.min() < 0 or true.max() >= self.num_classes):
            raise SSegValueError(
                f"True labels run from {true.min()} to {true.max()}, but there are only "
                f"{self.num_classes} classes: give the id to ignore, or all class names."
            )
        if pred.size and (pred.min() < 0 or pred.max() >= self.num_classes):
            pred = np.where((pred < 0) | (pred >= self.num_classes), self.num_classes, pred)
        if self.num_classes <= _MATRIX:
            self._count_together(pred, true)
            return
        self.true += self._count(true)
        self.intersection += self._count(true[pred == true])
        self.predicted += self._count(pred)

    def _count_together(self, pred, true):
        """All three from one count of pairs: twice as fast, as long as there are few pairs."""
        classes = self.num_classes
        pairs = np.bincount(true.astype(np.int64) * (classes + 1) + pred, minlength=classes * (classes + 1))
        pairs = pairs.reshape(classes, classes + 1)  # the last column: predictions that are no class
        self.true += pairs.sum(1)
        self.intersection += pairs.diagonal()
        self.predicted += pairs[:, :classes].sum(0)

    def _count(self, labels):
        """Pixels of each class; those beyond the classes are left out."""
        return np.bincount(labels, minlength=self.num_classes)[: self.num_classes]

    def merge(self, other):
        """Add the counts of another metric over the same classes."""
        self.intersection += other.intersection
        self.predicted += other.predicted
        self.true += other.true
        self.ignored += other.ignored

    @property
    def union(self):
        """(num_classes,) pixels that are the class in the truth, in the prediction or in both."""
        return self.true + self.predicted - self.intersection

    def iou(self):
        """(num_classes,) float64 in 0..1; NaN for a class that never occurs."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.intersection / np.where(self.union > 0, self.union, np.nan)

    def miou(self, classes=None):
        """Mean IoU, 0..1, over the classes (all, or these indices) that occur; NaN if none does."""
        iou = self.iou() if classes is None else self.iou()[list(classes)]
        iou = iou[~np.isnan(iou)]
        return float(iou.mean()) if iou.size else float("nan")

    def miou_of_all(self):
        """Mean IoU, 0..1, over all classes, those that never occur counting 0: ImageNet-S's own (evaluator.py)."""
        return float(np.nan_to_num(self.iou()).mean())

    def rows(self, class_names):
        """The table of classes that occur: name, iou, precision, recall (0..1, NaN for none), pixels of the truth."""
        with np.errstate(invalid="ignore", divide="ignore"):
            precision, recall = self.intersection / self.predicted, self.intersection / self.true
        return [
            {
                "name": class_names[i],
                "iou": float(self.iou()[i]),
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "pixels": int(self.true[i]),
            }
            for i in np.flatnonzero(self.union)
        ]

    def state(self):
        """(3, num_classes + 1) int64: all that was counted, ignored pixels last; `restore` takes it."""
        counts = np.stack([self.intersection, self.predicted, self.true])
        return np.pad(counts, ((0, 0), (0, 1)), constant_values=self.ignored)

    def restore(self, state):
        """Go on from a `state`. Raises SSegError for one of another number of classes."""
        if state.shape != (3, self.num_classes + 1):
            counted = state.shape[-1] - 1
            raise SSegError(f"The saved counts are of {counted} classes, not {self.num_classes}: start anew.")
        self.intersection, self.predicted, self.true = state[:, :-1].astype(np.int64)
        self.ignored = int(state[0, -1])

    def compute(self):
        """dict: miou, pixel_accuracy (both 0..1, NaN for nothing counted), per_class (num_classes,) IoU, and ignored:
        the share of pixels that did not count (NaN for no pixels)."""
        total = int(self.true.sum())
        pixels = total + self.ignored
        accuracy = int(self.intersection.sum()) / total if total else float("nan")
        ignored = self.ignored / pixels if pixels else float("nan")
        return {"miou": self.miou(), "per_class": self.iou(), "pixel_accuracy": accuracy, "ignored": ignored}


class BoundaryIoU(StreamingIoU):
    """IoU of what lies near outlines alone: the mean over classes of Boundary IoU (Cheng et al. 2021), streaming.

    A pixel of a class counts where another class, an ignored pixel or the edge of the picture is within `width` x the
    diagonal (at least one pixel, in the larger of the two directions). Summed over the set like `StreamingIoU`.
    """

    def __init__(self, num_classes, width=0.02):
        super().__init__(num_classes)
        self.width = width

    def update(self, pred_labels, true_labels, ignore=255):
        """Count one picture: two integer maps (H, W); where the truth is `ignore`, neither has a class."""
        pred, true = np.asarray(pred_labels), np.asarray(true_labels)
        if pred.shape != true.shape:
            raise SSegValueError(f"Predicted labels {pred.shape} and true labels {true.shape} differ in size.")
        distance = max(1, round(self.width * float(np.hypot(*true.shape))))
        pred = np.where(true == ignore, ignore, pred)
        near_pred, near_true = near_outline(pred, distance), near_outline(true, distance)
        none = self.num_classes  # not near an outline: no class
        counted = (near_pred | near_true) & (true != ignore)
        pred, true = np.where(near_pred, pred, none)[counted], np.where(near_true, true, none)[counted]
        self.true += self._count(true[true < none])
        self.intersection += self._count(true[(pred == true) & (true < none)])
        self.predicted += self._count(pred[(pred >= 0) & (pred < none)])


def near_outline(labels, distance):
    """(H, W) bool: pixels with another label, or the outside, at most `distance` rows and columns away.

    One pass for all classes: a square of one label has equal minimum and maximum.
    """
    side, outside = 2 * distance + 1, int(labels.min(initial=0)) - 1
    labels = np.asarray(labels, np.int32)
    low = minimum_filter(labels, side, mode="constant", cval=outside)
    return low != maximum_filter(labels, side, mode="nearest")


def oracle_labels(clusters, truth, ignore=255):
    """Each cluster takes the class that most of its counted pixels have (paper, section 3, oracle table).

    clusters (H, W) ints >= 0 and truth (H, W) ints of the same size -> labels (H, W) int64; a cluster whose pixels
    are all ignored gets `ignore`. Of equally frequent classes the lowest wins.
    """
    clusters, truth = np.asarray(clusters), np.asarray(truth)
    if clusters.shape != truth.shape:
        raise SSegValueError(f"Clusters {clusters.shape} and true labels {truth.shape} differ in size.")
    classes, local = np.unique(truth, return_inverse=True)
    votes = np.bincount(
        clusters.ravel() * len(classes) + local.ravel(), minlength=(int(clusters.max()) + 1) * len(classes)
    ).reshape(-1, len(classes))
    votes[:, classes == ignore] = 0
    winner = np.where(votes.any(1), classes[votes.argmax(1)], ignore)
    return winner[clusters]


def oracle_update(metric, clusters, truth, ignore=255):
    """Count one picture of an oracle run: clusters (h, w) on a grid, truth (H, W) in pixels, any ratio of sizes."""
    clusters, truth = np.asarray(clusters), np.asarray(truth)
    rows = np.arange(truth.shape[0]) * clusters.shape[0] // truth.shape[0]
    columns = np.arange(truth.shape[1]) * clusters.shape[1] // truth.shape[1]
    metric.update(oracle_labels(clusters[rows[:, None], columns], truth, ignore), truth, ignore)
