"""The metric against torchmetrics, against a loop that follows the definition, and on cases worked out by hand."""

import numpy as np
import pytest
import torch

from sseg.errors import SSegError
from sseg.metrics import BoundaryIoU, StreamingIoU, oracle_labels, oracle_update


def loop_miou(pairs, num_classes, ignore):
    scores = []
    for c in range(num_classes):
        both = either = 0
        for pred, true in pairs:
            counted = true != ignore
            both += int(((pred == c) & (true == c) & counted).sum())
            either += int((((pred == c) | (true == c)) & counted).sum())
        if either:
            scores.append(both / either)
    return sum(scores) / len(scores)


@pytest.mark.parametrize("num_classes", [2, 7, 40])
def test_equals_the_loop_and_torchmetrics_over_several_pictures(num_classes):
    rng = np.random.default_rng(num_classes)
    pairs = [(rng.integers(0, num_classes, (9, 31)), rng.integers(0, num_classes, (9, 31))) for _ in range(4)]
    metric = StreamingIoU(num_classes)
    for pred, true in pairs:
        metric.update(pred, true)
    got = metric.compute()
    assert got["miou"] == pytest.approx(loop_miou(pairs, num_classes, 255), abs=1e-12)
    from torchmetrics.segmentation import MeanIoU  # imports torchvision, which sseg has to prepare first

    # One row of all pixels: torchmetrics averages pictures, we sum over the set.
    pred, true = (torch.from_numpy(np.concatenate([p[i].ravel() for p in pairs])[None]) for i in (0, 1))
    theirs = MeanIoU(num_classes=num_classes, per_class=True, input_format="index")(pred, true)
    np.testing.assert_allclose(got["per_class"], theirs.numpy(), atol=1e-6)
    assert got["pixel_accuracy"] == pytest.approx(float((pred == true).float().mean()))


def test_ignored_pixels_and_classes_that_never_occur_do_not_count():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 5, (20, 20))
    true[rng.random((20, 20)) < 0.3] = 255
    pred = rng.integers(0, 5, (20, 20))
    metric = StreamingIoU(700)
    metric.update(pred.astype(np.int32), true.astype(np.uint8))
    assert metric.compute()["miou"] == pytest.approx(loop_miou([(pred, true)], 700, 255))
    assert np.isnan(metric.compute()["per_class"][5:]).all()


@pytest.mark.parametrize("num_classes", [4, 600])  # 600: too many for a matrix of pairs
def test_a_class_predicted_but_never_true_scores_zero_and_background_is_a_miss(num_classes):
    metric = StreamingIoU(num_classes)
    metric.update(np.array([0, 0, 1, -1, num_classes + 9]), np.array([0, 0, 0, 2, 2]), ignore=-1)
    got = metric.compute()
    np.testing.assert_allclose(got["per_class"][:4], [2 / 3, 0, 0, np.nan])
    assert got["miou"] == pytest.approx(2 / 9)
    assert got["pixel_accuracy"] == 0.4
    assert metric.miou([0, 3]) == pytest.approx(2 / 3)


def test_merged_counts_equal_counting_in_one():
    rng = np.random.default_rng(1)
    whole, parts = StreamingIoU(6), [StreamingIoU(6), StreamingIoU(6)]
    for i in range(6):
        pred, true = rng.integers(0, 6, (2, 8, 8))
        whole.update(pred, true)
        parts[i % 2].update(pred, true)
    parts[0].merge(parts[1])
    np.testing.assert_array_equal(parts[0].iou(), whole.iou())


def test_truth_outside_the_classes_and_differing_sizes_are_named():
    with pytest.raises(SSegError, match="only 3 classes"):
        StreamingIoU(3).update(np.zeros((2, 2), int), np.full((2, 2), 3))
    with pytest.raises(SSegError, match="differ in size"):
        StreamingIoU(3).update(np.zeros((2, 2), int), np.zeros((2, 3), int))
    assert np.isnan(StreamingIoU(3).compute()["miou"])


def test_oracle_gives_each_cluster_its_majority_without_ignored_pixels():
    clusters = np.array([[0, 0, 0, 1, 1, 1, 2]])
    truth = np.array([[7, 7, 3, 255, 255, 4, 255]])
    np.testing.assert_array_equal(oracle_labels(clusters, truth), [[7, 7, 7, 4, 4, 4, 255]])


def test_oracle_is_perfect_when_clusters_refine_the_truth_and_bounded_by_any_labelling():
    rng = np.random.default_rng(2)
    truth = np.kron(rng.integers(0, 5, (6, 6)), np.ones((4, 4), int))
    metric = StreamingIoU(5)
    oracle_update(metric, np.arange(36).reshape(6, 6), truth)
    assert metric.compute()["miou"] == 1.0
    clusters = rng.integers(0, 3, truth.shape)
    best = (oracle_labels(clusters, truth) == truth).mean()
    for _ in range(50):
        assert (rng.integers(0, 5, 3)[clusters] == truth).mean() <= best


def loop_boundary(pairs, num_classes, width, ignore):
    """Boundary IoU as the paper defines it: a mask less its erosion, class by class, erosion by looking around."""
    both, either = np.zeros(num_classes), np.zeros(num_classes)
    for pred, true in pairs:
        distance = max(1, round(width * np.hypot(*true.shape)))
        for c in range(num_classes):
            edges = []
            for mask in ((pred == c) & (true != ignore), true == c):
                padded = np.pad(mask, distance)  # outside is not the class
                inner = np.ones_like(mask)
                for y in range(2 * distance + 1):
                    for x in range(2 * distance + 1):
                        inner &= padded[y : y + mask.shape[0], x : x + mask.shape[1]]
                edges.append(mask & ~inner)
            both[c] += (edges[0] & edges[1]).sum()
            either[c] += (edges[0] | edges[1]).sum()
    return (both / np.where(either > 0, either, np.nan)).tolist()


@pytest.mark.parametrize("width", [0.02, 0.1])
def test_boundary_iou_equals_the_loop(width):
    rng = np.random.default_rng(5)
    pairs = []
    for shape in ((5, 7), (6, 4)):
        true = np.kron(rng.integers(0, 4, shape), np.ones((8, 8), int))
        true[rng.random(true.shape) < 0.02] = 255
        pairs.append((np.roll(np.where(true == 255, 0, true), 2, 1), true))
    metric, perfect = BoundaryIoU(5, width), BoundaryIoU(5, width)
    for pred, true in pairs:
        metric.update(pred, true)
        perfect.update(np.where(true == 255, 3, true), true)
    np.testing.assert_allclose(metric.iou(), loop_boundary(pairs, 5, width, 255))
    assert perfect.miou() == 1.0 and metric.miou() < 0.9


def test_boundary_iou_sees_outlines_where_iou_hardly_does():
    true = np.zeros((100, 100), int)
    true[20:80, 20:80] = 1
    pred = np.zeros_like(true)
    pred[23:77, 23:77] = 1
    area, boundary = StreamingIoU(2), BoundaryIoU(2)
    area.update(pred, true)
    boundary.update(pred, true)
    assert area.iou()[1] == pytest.approx(54**2 / 60**2) and boundary.iou()[1] < 0.2


def test_imagenet_s_counts_classes_that_never_occur_as_zero():
    metric = StreamingIoU(51)
    metric.update(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2]), ignore=1000)
    assert metric.miou_of_all() == pytest.approx((1 + 0.5 + 0.5) / 51) and metric.miou() == pytest.approx(2 / 3)


def test_rows_name_what_occurs_and_a_state_goes_on():
    metric, other = StreamingIoU(4), StreamingIoU(4)
    metric.update(np.array([0, 0, 1]), np.array([0, 1, 1]))
    (background, dog) = metric.rows(["background", "dog", "cat", "cow"])
    assert background == {"name": "background", "iou": 0.5, "precision": 0.5, "recall": 1.0, "pixels": 1}
    assert (dog["name"], dog["precision"], dog["recall"]) == ("dog", 1.0, 0.5)
    other.restore(metric.state())
    np.testing.assert_array_equal(other.iou(), metric.iou())
    with pytest.raises(SSegError, match="of 4 classes, not 5"):
        StreamingIoU(5).restore(metric.state())


def test_1204_classes_take_no_more_than_their_counts():
    rng = np.random.default_rng(3)
    metric = StreamingIoU(1204)
    for _ in range(3):
        pred, true = rng.integers(0, 1204, (2, 64, 64)).astype(np.uint16)
        metric.update(pred, true, ignore=65535)
    assert sum(array.nbytes for array in vars(metric).values() if isinstance(array, np.ndarray)) == 3 * 1204 * 8
