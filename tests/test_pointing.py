"""The pointing game: what counts as a hit, that boxes follow the picture's size, and the command on a small set."""

import io
import json

import numpy as np
import pytest
from PIL import Image

import sseg
from sseg.errors import SSegError
from tests.tars import write_tar
from train import evaluate
from train.benchmarks.pointing import Pointing, inside

PHRASES = [["a dog", "1", "animals"], ["grass", "2", "scene"], ["fun", "3", "other"]]
BOXES = {"a": {"size": [200, 100], "phrases": PHRASES,
               "boxes": {"1": [[0, 0, 50, 50], [150, 0, 200, 100]], "2": [[40, 40, 160, 100]]}}}


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


def test_the_command_equals_asking_by_hand(root, tiny_weights, capsys):
    assert evaluate.main(["--benchmark", "pointing", "--root", str(root), "--model", str(tiny_weights)]) == 0
    got = json.loads(capsys.readouterr().out.splitlines()[-1])
    ((image, phrases),) = Pointing(root=root)
    segmenter, hits = sseg.load(str(tiny_weights)), []
    for phrase in phrases:
        y, x = np.argwhere((scores := segmenter(image, [phrase.text], background=0).scores[0]) == scores.max())[0]
        hits.append(any(a <= x + 0.5 <= c and b <= y + 0.5 <= d for a, b, c, d in phrase.boxes))
    assert got["pointing"] == 100 * np.mean(hits) and got["phrases"] == 2
    assert got["centre"] == 50 and got["kinds"]["scene"]["centre"] == 100  # the middle lies on the grass alone


def test_missing_parts_are_one_sentence(root, tmp_path, capsys):
    (root / "phrase-boxes.json").write_text(json.dumps(BOXES | {"b": BOXES["a"]}))
    with pytest.raises(SSegError, match="1 pictures of the boxes are in no tar"):
        Pointing(root=root)
    (root / "phrase-boxes.json").unlink()
    assert evaluate.main(["--benchmark", "pointing", "--root", str(root), "--model", "mini"]) == 2
    assert "phrase-boxes.json is missing" in capsys.readouterr().err
