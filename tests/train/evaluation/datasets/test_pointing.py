"""The pointing game: what counts as a hit, that boxes follow the picture's size, and the command on a small set."""

import io
import json

import numpy as np
import pytest
from PIL import Image

import sseg
from sseg.errors import SSegError
from tests.helpers.tars import write_tar
from train import evaluate
from train.evaluation.datasets.pointing import Pointing, inside

PHRASES = [["a dog", "1", "animals"], ["grass", "2", "scene"], ["fun", "3", "other"]]
BOXES = {
    "a": {
        "size": [200, 100],
        "phrases": PHRASES,
        "boxes": {"1": [[0, 0, 50, 50], [150, 0, 200, 100]], "2": [[40, 40, 160, 100]]},
    }
}


@pytest.fixture
def root(tmp_path):
    buffer = io.BytesIO()
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (50, 100, 3), np.uint8)).save(buffer, "PNG")
    write_tar(tmp_path / "x.tar", {"a.png": buffer.getvalue(), "a.txt": b"a dog on grass"})
    (tmp_path / "phrase-boxes.json").write_text(json.dumps(BOXES))
    return tmp_path


def test_boxes_are_scaled_to_the_picture_and_phrases_without_one_are_left_out(root):
    ((image, phrases),) = Pointing(root=root)
    assert image.shape == (50, 100, 3)
    assert [(phrase.text, phrase.kind) for phrase in phrases] == [("a dog", "animals"), ("grass", "scene")]
    assert phrases[0].boxes.tolist() == [[0, 0, 25, 25], [75, 0, 100, 50]]


@pytest.mark.parametrize(
    ("x", "y", "hit"), [(10, 10, True), (25, 25, True), (26, 10, False), (80, 45, True), (50, 25, False)]
)
def test_a_point_hits_inside_any_box(root, x, y, hit):
    ((_, phrases),) = Pointing(root=root)
    assert inside(phrases[0].boxes, x, y) is hit


def by_hand(segmenter, image, text):
    """Where the evened-out cosine is highest, in pixels, each step written out."""
    encoded, wanted = segmenter.encode(image), segmenter.embed([text])[0].numpy()
    weights = encoded.mask_weights.numpy().astype(float)
    _, height, width = weights.shape
    cosines = [float(one.numpy() @ wanted) for one in encoded.mask_embeddings]
    found = np.zeros((height, width))
    for y, x in np.ndindex(height, width):
        found[y, x] = np.dot(weights[:, y, x], cosines) / weights[:, y, x].sum()
    deviation = 0.15 * max(height, width)
    steps = np.arange(-int(4 * deviation + 0.5), int(4 * deviation + 0.5) + 1)
    kernel = np.exp(-(steps**2) / (2 * deviation**2))
    for axis in (0, 1):
        size = found.shape[axis]
        whole = np.apply_along_axis(np.convolve, axis, found, kernel)  # "full"
        found = whole.take(range(len(steps) // 2, len(steps) // 2 + size), axis)
    y, x = np.unravel_index(found.argmax(), found.shape)
    return (x + 0.5) * image.shape[1] / width, (y + 0.5) * image.shape[0] / height


def test_the_command_equals_asking_by_hand(root, tiny_weights, capsys):
    assert evaluate.main(["--benchmark", "pointing", "--root", str(root), "--model", str(tiny_weights)]) == 0
    got = json.loads(capsys.readouterr().out.splitlines()[-1])
    ((image, phrases),) = Pointing(root=root)
    segmenter, hits = sseg.load(str(tiny_weights)), []
    for phrase in phrases:
        x, y = by_hand(segmenter, image, phrase.text)
        hits.append(any(a <= x <= c and b <= y <= d for a, b, c, d in phrase.boxes))
    assert got["pointing"] == 100 * np.mean(hits) and got["phrases"] == 2
    assert got["centre"] == 50 and got["kinds"]["scene"]["centre"] == 100  # the middle lies on the grass alone


def test_halves_are_apart(root, tiny_weights, capsys):
    command = ["--benchmark", "pointing", "--root", str(root), "--model", str(tiny_weights), "--json-only", "--half"]
    counts = []
    for half in ("even", "odd"):
        assert evaluate.main([*command, half]) == 0
        counts.append(json.loads(capsys.readouterr().out.splitlines()[-1])["phrases"])
    assert counts == [2, 0]  # the one picture is number 0


def test_missing_parts_are_one_sentence(root, tmp_path, capsys):
    (root / "phrase-boxes.json").write_text(json.dumps(BOXES | {"b": BOXES["a"]}))
    with pytest.raises(SSegError, match="1 pictures of the boxes are in no tar"):
        Pointing(root=root)
    (root / "phrase-boxes.json").unlink()
    assert evaluate.main(["--benchmark", "pointing", "--root", str(root), "--model", "mini"]) == 2
    assert "phrase-boxes.json is missing" in capsys.readouterr().err
