"""The metric against torchmetrics, against a loop that follows the definition, and on cases worked out by hand."""

import numpy as np
import pytest
import torch

from sseg.errors import SSegError
from sseg.metrics import StreamingIoU, oracle_labels, oracle_update


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


def test_a_class_predicted_but_never_true_scores_zero_and_background_is_a_miss():
    metric = StreamingIoU(4)
    metric.update(np.array([0, 0, 1, -1]), np.array([0, 0, 0, 2]), ignore=-1)
    got = metric.compute()
    np.testing.assert_allclose(got["per_class"], [2 / 3, 0, 0, np.nan])
    assert got["miou"] == pytest.approx(2 / 9)
    assert got["pixel_accuracy"] == 0.5
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
