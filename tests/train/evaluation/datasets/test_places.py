"""Surroundings in the folder's layout: found by the variable, scored with all names and with those present."""

import json

import numpy as np
import pytest
from PIL import Image

import sseg
from sseg.metrics import StreamingIoU
from train import evaluate
from train.evaluation.registry import open_benchmark

NAMES = ["wall", "floor", "sky", "sea"]


@pytest.fixture
def places(tmp_path):
    """Three photographs of two or three stripes each, the last stripe not annotated."""
    root = tmp_path / "places-mini"
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    colours = np.random.default_rng(3).integers(0, 256, (256, 3)).astype(np.uint8)
    for number, ids in enumerate(([0, 1, 255], [2, 3, 255], [0, 1, 2, 255])):
        ids = np.repeat(np.array(ids, np.uint8), 16)[:, None].repeat(48, 1)
        Image.fromarray(colours[ids]).save(root / "images" / f"{number}.jpg", quality=95)
        Image.fromarray(ids).save(root / "masks" / f"{number}.png")
    (root / "classes.txt").write_text("\n".join(NAMES) + "\n")
    return root


def run(capsys, *arguments):
    assert evaluate.main(["--benchmark", "places-mini", "--device", "cpu", *arguments]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize("phrases", ["all", "present"])
def test_every_name_is_a_class_and_what_is_not_annotated_counts_nowhere(places, tiny_weights, phrases, capsys):
    got = run(capsys, "--root", str(places), "--model", str(tiny_weights), "--phrases", phrases)
    segmenter, metric = sseg.load(str(tiny_weights), device="cpu"), StreamingIoU(len(NAMES))
    for sample in open_benchmark("places-mini", places):
        classes = np.arange(len(NAMES)) if phrases == "all" else np.unique(sample.labels[sample.labels >= 0])
        answer = segmenter(sample.image, [NAMES[i] for i in classes], background=0, competitors=False)
        metric.update(classes[answer.best], sample.labels, -1)
    assert got["miou"] == pytest.approx(100 * metric.compute()["miou"], abs=0.02)
    assert {"benchmark": "places-mini", "images": 3, "classes": 4, "phrases": phrases}.items() <= got.items()
    assert got["protocol"].endswith("no background")


def test_the_data_is_found_by_the_variable_and_can_be_halved(places, monkeypatch, capsys):
    monkeypatch.setenv("SSEG_DATA", str(places.parent))
    arguments = ["--oracle", "--features", "pixels", "--resolution", "224"]
    whole, even, odd = (run(capsys, *arguments, *half) for half in ([], ["--half", "even"], ["--half", "odd"]))
    assert (whole["images"], even["images"], odd["images"]) == (3, 2, 1)
    assert whole["oracle_miou"] > 90 and even["half"] == "even" and odd["protocol"].endswith("odd number")


def test_a_missing_folder_is_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SSEG_DATA", str(tmp_path / "nowhere"))
    for root in ([], ["--root", str(tmp_path / "neither")]):
        assert evaluate.main(["--benchmark", "places-mini", "--oracle", *root]) == 2
        said = capsys.readouterr()
        assert "places-mini" in said.err and len(said.err.strip().splitlines()) == 1 and not said.out
