"""A published folder holds what others need, and its card says what the log and the results say."""

import json
from pathlib import Path

import pytest
import yaml
from PIL import Image

from sseg.errors import SSegError
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


def test_an_unfinished_run_is_one_sentence(run, tmp_path, capsys):
    (run / "model.safetensors").unlink()
    with pytest.raises(SSegError, match="model.safetensors"):
        publish(run, tmp_path / "out", "mini", [])
    assert main([str(run), str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
