"""A published folder holds what others need, and its card says what the log and the results say."""

import json
from pathlib import Path

import pytest
import yaml
from PIL import Image

from sseg.errors import SSegError
from sseg.models.small_vit import SmallViT
from train.publish import FILES, main, publish

STEP = {"dice": 1.5, "focal": 0.1, "contrastive": 4.0, "phrases": 5.0, "retrieval": 0.02, "seconds": 1800.0}


@pytest.fixture
def run(tmp_path, tiny_weights) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    for file in FILES:
        if (Path(tiny_weights) / file).is_file():
            (folder / file).write_bytes((Path(tiny_weights) / file).read_bytes())
    recipe = {"seed": 3, "data": {"name": "stickers"}, "pseudo_masks": {"features": "pixels"}}
    recipe["loss"] = {"phrases": 1.0}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    first = {"event": "start", "commit": "abc1234", "hardware": "a processor", "processes": 2, "versions": {}}
    steps = [STEP | {"samples": 1000, "size": 48}, STEP | {"samples": 123_456, "size": 64, "seconds": 5400.0}]
    (folder / "log.jsonl").write_text("\n".join(map(json.dumps, [first, *steps])))
    return folder


def test_card_states_run_and_results(run, tmp_path):
    result = {"benchmark": "stickers", "phrases": "all", "images": 1000, "miou": 27.25, "miou_things": 26.0}
    result |= {"miou_materials": 71.5, "commit": "def5678", "hardware": "a processor", "seed": 5}
    publish(run, tmp_path / "out", "mini", [result])
    card = (tmp_path / "out/README.md").read_text()
    facts = ("123,456", "1.5 hours", "abc1234", "seed 3", "2 process", "27.2", "71.5", "def5678", "| 5 |")
    for fact in (*facts, "single phrases"):
        assert fact in card, fact
    assert "{" not in card.split("---", 2)[2].replace("{}", "")
    assert Image.open(tmp_path / "out/curve.png").size[0] > 600
    assert all((tmp_path / "out" / file).is_file() for file in FILES)


def test_card_of_a_mixture_names_its_parts_and_its_start(run, tmp_path):
    recipe = yaml.safe_load((run / "recipe.yaml").read_text()) | {"init": "owner/first"}
    tars = {"name": "tars", "root": "pairs", "share": 0.5, "pseudo_masks": {"features": "textons", "stored": "masks"}}
    recipe["data"] = {"name": "mixture", "parts": [{"name": "stickers", "share": 0.5}, tars]}
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    publish(run, tmp_path / "out", "mini", [])
    card = (tmp_path / "out/README.md").read_text()
    for fact in ("Rendered scenes", "Photographs with captions", '"pixels" and "textons"', "`owner/first`"):
        assert fact in card, fact


def test_an_unfinished_run_is_one_sentence(run, tmp_path, capsys):
    (run / "model.safetensors").unlink()
    with pytest.raises(SSegError, match="model.safetensors"):
        publish(run, tmp_path / "out", "mini", [])
    assert main([str(run), str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("second", [False, True], ids=["first stage", "second stage"])
def test_features_have_a_card_of_their_own(tmp_path, second):
    run = tmp_path / "run"
    run.mkdir()
    network = SmallViT(16, 1, 2, 2, [8, 8], 8)
    (run / "config.json").write_text(json.dumps(network.config))
    (run / "model.safetensors").write_bytes(b"weights")
    stages = [{"steps": 10, "batch": 100}, {"steps": 10, "batch": 100}]
    recipe = {"seed": 3, "stages": stages}
    if second:
        recipe |= {"data": {"scenes": 70, "share": 0.5}, "teacher": {"k": [6, 10]}, "loss": {"group": 4}}
    else:
        recipe |= {"data": {"stickers": 0.5}, "prototypes": 32, "loss": {"near": 1.0, "whole": 0.3}}
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    first = {"event": "start", "commit": "abc1234", "hardware": "a processor", "processes": 2, "versions": {}}
    step = {"loss": 4.5, "near": 5.0, "whole": 6.0, "seconds": 3000.0}
    lines = [first, step | {"samples": 999}, {"event": "resume", "step": 9}, step | {"samples": 2000}]
    (run / "log.jsonl").write_text("\n".join(map(json.dumps, lines)))
    result = {
        "benchmark": "voc-mini",
        "k": 8,
        "images": 222,
        "oracle_miou": 61.25,
        "clusterings": 4,
        "seed": 0,
        "commit": "def5678",
    }
    publish(run, tmp_path / "out", "features-mini", [result | {"hardware": "a processor"}])
    card = (tmp_path / "out/README.md").read_text()
    parameters = sum(p.numel() for p in network.parameters())
    facts = (
        "2,000 pictures",
        "50 minutes",
        "abc1234",
        "50 in 100",
        f"{parameters:,}",
        "| voc-mini | 8 | 222 | 61.2 | 4 |",
    )
    method = ("K = 6, 10;", "of 4 pictures") if second else ("nearness", "agreement of whole views")
    for fact in (*facts, *method, "resumed at step 9;"):
        assert fact in card, fact
    assert "{" not in card.split("---", 2)[2]
    assert Image.open(tmp_path / "out/curve.png").size[0] > 500
