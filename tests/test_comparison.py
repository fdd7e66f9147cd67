"""Two answers about one picture: every figure by hand or against another library."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassJaccardIndex

from sseg import SSegError
from sseg.comparison import IGNORED, Comparison, compare
from sseg.segmentation import Segmentation


def answer(labels, phrases):
    """A Segmentation whose label map is this one."""
    labels = np.asarray(labels)
    scores = torch.zeros(len(phrases), *labels.shape)
    made = Segmentation(phrases, phrases, [True] * len(phrases), labels.shape, 0.0, "hand", scores, None)
    made.__dict__["labels"] = labels.astype(np.int32)
    return made


def png(ids):
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(ids, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_case_by_hand():
    a = answer([[0, 0, 0, 0], [1, 1, -1, -1]], ["sand", "dog"])
    b = answer([[0, 0, 1, 0], [2, -1, -1, -1]], ["sand", "water", "Dog"])
    found = compare(a, b, png([[1, 1, 3, 3], [2, 2, 0, 255]]))
    assert found.categories == ["sand", "dog", "water"]  # "Dog" is A's "dog"
    out = found.to_json()
    assert out["agreement"] == 0.75 and out["disagreement"] == 0.25
    assert {row["name"]: (row["a"], row["b"]) for row in out["areas"]} == {
        "sand": (0.5, 0.375), "dog": (0.25, 0.125), "water": (0, 0.125), None: (0.25, 0.375)}  # fmt: skip
    flips = {(flip["from"], flip["to"]): flip["share_of_from"] for flip in out["flips"]}
    assert flips == {("sand", "water"): 0.25, ("dog", None): 0.5}
    # truth: sand 2, water 2, dog 2, background 1. A: sand 2/4, dog 2/2, water 0/2, background 1/1
    assert out["miou"]["a"] == pytest.approx((0.5 + 1 + 0 + 1) / 4)
    # B: sand 2/3, water 1/2, dog 1/2, background 1/2
    assert out["miou"]["b"] == pytest.approx((2 / 3 + 0.5 + 0.5 + 0.5) / 4)
    assert out["mended"] == pytest.approx(1 / 7) and out["broken"] == pytest.approx(1 / 7)
    assert found.corrections.tolist() == [[0, 0, 1, 0], [0, -1, 0, 0]]


def test_random_maps_against_torchmetrics():
    rng = np.random.default_rng(0)
    a, b, truth = (rng.integers(-1, 5, (40, 60)).astype(np.int32) for _ in range(3))
    truth[rng.random((40, 60)) < 0.1] = IGNORED
    found = Comparison(list("vwxyz"), a, b, truth)
    sides = [torch.from_numpy(side + 1) for side in (a, b, truth)]
    theirs = MulticlassJaccardIndex(6, ignore_index=IGNORED + 1)
    miou = found.miou()
    assert miou["a"] == pytest.approx(float(theirs(sides[0], sides[2])), abs=1e-6)
    assert miou["b"] == pytest.approx(float(theirs(sides[1], sides[2])), abs=1e-6)
    table = MulticlassConfusionMatrix(6)(sides[1], sides[0]).numpy()  # rows: A, columns: B
    names = [None, *"vwxyz"]
    for flip in found.flips:
        i, j = names.index(flip["from"]), names.index(flip["to"])
        assert flip["share_of_from"] == pytest.approx(table[i, j] / table[i].sum())
    assert len(found.flips) == 30 and found.agreement == pytest.approx(np.trace(table) / table.sum())
    gained = found.to_json()
    right = [((side == truth) & (truth != IGNORED)).sum() / (truth != IGNORED).sum() for side in (a, b)]
    assert gained["mended"] - gained["broken"] == pytest.approx(right[1] - right[0])


def test_outlines_agree_within_a_tolerance_and_no_further():
    def halves(edge):
        labels = np.zeros((300, 400), np.int32)
        labels[:, edge:] = 1
        return labels

    def score(edge):  # the diagonal is 500 pixels, the tolerance 3.75
        return Comparison(["a", "b"], halves(200), halves(edge)).boundary_agreement

    assert score(200) == score(203) == 1 and score(204) == score(260) == 0
    flat = np.zeros((300, 400), np.int32)
    assert Comparison(["a", "b"], flat, flat).boundary_agreement == 1
    assert Comparison(["a", "b"], flat, halves(200)).boundary_agreement == 0
    two = halves(200)
    two[:, 300:] = 0  # one outline of A's, two of B's: precision 1, recall 1/2
    assert Comparison(["a", "b"], halves(200), two).boundary_agreement == pytest.approx(2 / 3)


def test_what_cannot_be_compared_is_one_sentence():
    a, b = answer([[0, 0]], ["dog"]), answer([[0], [0]], ["dog"])
    with pytest.raises(SSegError, match="differ in size"):
        compare(a, b)
    with pytest.raises(SSegError, match="The true mask has 1 x 2 pixels, the picture 2 x 1"):
        compare(a, a, png([[0], [0]]))
    with pytest.raises(SSegError, match="holds the id 7, but there are 1 categories"):
        compare(a, a, png([[0, 7]]))
