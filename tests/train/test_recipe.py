"""The one door of recipes: what is wrong in one is a sentence with its path, and old ones can still be read."""

import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import torch
import yaml

from sseg.errors import SSegError
from tests.conftest import ROOT
from tests.train.conftest import main_of, trainer_of
from train import publish
from train.model_setup import check_backbone
from train.recipe import (
    Pretrain,
    SelfTrain,
    build,
    mapping_of,
    read_mapping,
    read_recipe,
)
from train.recipe.reader import COMMANDS, kind_of

MINI = ROOT / "train/recipes/mini.yaml"
ALL = [*sorted((ROOT / "train/recipes").glob("*.yaml")), *sorted((ROOT / "sseg/weights").glob("*/recipe*.yaml"))]


@pytest.mark.parametrize("path", ALL, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_recipe_of_the_repository_is_read_and_written_back(path):
    kind = kind_of(read_mapping(path))
    recipe = read_recipe(kind, path)
    assert build(kind, yaml.safe_load(yaml.safe_dump(mapping_of(recipe)))) == recipe
    if kind in (Pretrain, SelfTrain):
        check_backbone(recipe.model.get("backbone", {}))


@pytest.mark.parametrize("name", ["mini", "mini-plus", "features-mini", "photos-plus"])
def test_bundled_weights_can_be_described_from_their_recipes(name):
    folder = ROOT / "sseg/weights" / name
    assert name in (publish.card_of(folder) or publish).write_card(folder, name, [])


def test_old_names_of_keys_are_understood_in_files_and_changes(tmp_path):
    (tmp_path / "old.yaml").write_text(MINI.read_text().replace("queries: all", "queries: all, rivals: 7"))
    assert read_recipe(Pretrain, tmp_path / "old.yaml").loss.distractors == 7
    assert read_recipe(Pretrain, MINI, ["loss.rivals=9"]).loss.distractors == 9
    assert read_mapping(tmp_path / "old.yaml")["loss"]["distractors"] == 7


def test_numbers_may_be_written_as_people_write_them(tmp_path):
    text = MINI.read_text().replace("lr: 1.0e-3", "lr: 1e-3").replace("steps: 2600", "steps: 2.6e3")
    (tmp_path / "some.yaml").write_text(text)
    recipe = read_recipe(Pretrain, tmp_path / "some.yaml", ["optimizer.final_lr=2e-5", "seed=3", "out=2024"])
    assert recipe.optimizer.lr == 1e-3 and recipe.optimizer.final_lr == 2e-5 and recipe.out == "2024"
    assert recipe.stages[0].steps == 2600 and isinstance(recipe.stages[0].steps, int)
    nested = "optimizer={lr: 1e-3, final_lr: 1e-5, warmup: 1e2, cooldown: 1, weight_decay: 0, clip: 5, average: 0,"
    nested += " betas: [9e-1, 1]}"
    changed = read_recipe(Pretrain, MINI, [nested, "stages.1.batch=8", "loss.tags=1e-1"])
    assert changed.optimizer.warmup == 100 and changed.optimizer.betas == (0.9, 1.0)
    assert changed.stages[1].batch == 8 and changed.loss.tags == 0.1


@pytest.mark.parametrize(("change", "sentence"), [
    ("optimizer.rate=1", "optimizer.rate is no key of its kind"),
    ("loss.rivalz=5", "loss.rivalz is no key"),
    ("model.fpn_dimm=32", "model.fpn_dimm is no key of its kind: did you mean model.fpn_dim?"),
    ("optimiser={lr: 1}", "optimiser is no key of its kind: did you mean optimizer?"),
    ("stages.0.sizes=3", "stages.0.sizes is no key of its kind: did you mean stages.0.size?"),
    ("precision=fp16", "precision is fp16: take bf16 or fp32"),
    ("optimizer.lr=fast", "optimizer.lr is fast: it takes a number"),
    ("optimizer.lr=true", "optimizer.lr is True: it takes a number"),
    ("optimizer.lr=.nan", "optimizer.lr is nan: it takes a number"),
    ("optimizer.lr=-1", "optimizer.lr is -1.0: give a number of at least 0"),
    ("optimizer.betas=[0.9]", "optimizer.betas holds 1 values: it takes 2"),
    ("optimizer.average=2", "optimizer.average is 2.0: give a number from 0 to 1"),
    ("log_every=0", "log_every is 0: give a number of at least 1"),
    ("stages.0.batch=1.5", "stages.0.batch is 1.5: it takes a whole number"),
    ("stages=3", "stages is 3: it takes a list"),
    ("stages=[]", "stages is empty"),
    ("stages.9.k=3", "names no entry 9: there are 0 to 3"),
    ("model.fpn_dim=wide", "model.fpn_dim is wide: it takes a whole number"),
    ("model=null", "model is empty: it takes keys with values"),
    ("optimizer=5", "optimizer is 5: it takes keys with values"),
    ("seed.x=5", "names a key below seed"),
    ("data.name=pairs", "data.name is stickers, tars, maps or mixture"),
    ("data=stickers", "data is stickers: it takes keys with values"),
    ("loss={dice: 1}", "loss.focal is missing"),
    ("out", "write it as key=value"),
    ("out={", "is not YAML: put it into quotes"),
    ("device=cuda:7", "There is no device cuda:7 here: set device=auto or device=cpu"),
    ("device=toaster", "There is no device toaster here"),
    ("model.backbone.embeding_size=8", "did you mean model.backbone.embedding_size?"),
    ("model.backbone.model_type=resnett", "model.backbone.model_type is resnett: name one of transformers"),
    ("tokenizer.name=some/where", "either a vocab_size, to be learned, or the name"),
])  # fmt: skip
def test_what_is_wrong_is_one_sentence_and_exit_code_2(change, sentence, recipes, tmp_path, capsys):
    recipe = recipes["pretrain"] if change.startswith(("device", "tokenizer", "stages=[]", "model.backbone")) else MINI
    assert main_of("pretrain")([str(recipe), f"out={tmp_path / 'run'}", change]) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1 and not (tmp_path / "run").exists()


@pytest.mark.parametrize(("text", "sentence"), [
    ("", "holds no recipe"), ("- 1\n", "holds no recipe"), ("just text", "holds no recipe"),
    ("seed: 0\n\tout: x\n", "is not YAML in line 2: indent with spaces"), ("seed: [", "is not YAML"),
    ("seed: 0\n", "is missing"), ("seed: \udcff", "is not YAML"),
])  # fmt: skip
def test_files_that_hold_no_recipe_are_one_sentence(text, sentence, tmp_path, capsys):
    (tmp_path / "some.yaml").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert main_of("pretrain")([str(tmp_path / "some.yaml")]) == 2
    assert sentence in capsys.readouterr().err
    assert main_of("pretrain")([str(tmp_path / "nowhere.yaml")]) == 2
    assert "There is no recipe" in capsys.readouterr().err


def test_a_recipe_of_another_command_is_sent_there(capsys):
    assert main_of("pretrain")([str(ROOT / "train/recipes/plus-stickers.yaml")]) == 2
    assert "is a recipe of train.self_train: give it to that command" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "change", "key"), [
    ("pretrain", "model.hidden_dim=64", "model.hidden_dim is 64, but the run"),
    ("pretrain", "tokenizer.max_length=9", "tokenizer.max_length is 9"),
    ("self_train", "model.head_width=16", "model.head_width is 16"),
    ("distill", "prototypes=16", "prototypes is 16"),
    ("cluster_distill", "depth=2", "depth is 2"),
])  # fmt: skip
def test_another_model_is_not_resumed(name, change, key, recipes, unbroken, capsys):
    before = (unbroken(name) / "state.safetensors").read_bytes()
    assert main_of(name)([str(recipes[name]), "--resume", change]) == 2
    assert key in capsys.readouterr().err and (unbroken(name) / "state.safetensors").read_bytes() == before


def test_a_state_of_another_model_is_one_sentence(recipes, unbroken, tmp_path):
    """Where the folder has lost its recipe."""
    (tmp_path / "state.safetensors").write_bytes((unbroken("distill") / "state.safetensors").read_bytes())
    with pytest.raises(SSegError, match="is of another model"):
        trainer_of("distill", recipes["distill"], f"out={tmp_path}", "model.width=32", resume=True)


def test_devices_by_name():
    from train.distributed import device_of

    assert device_of("cpu") == torch.device("cpu") and device_of("auto").type in ("cpu", "cuda")


# ---- docs/training.md ------------------------------------------------------------------------------------------------
def sections(kind, path: str, found: dict[str, set[str]]) -> dict[str, set[str]]:
    """Keys by the path of their section; numbers of lists are left out, unions taken together."""
    found.setdefault(path, set()).update(field.name for field in fields(kind))
    hints = get_type_hints(kind)
    for field in fields(kind):
        for part in parts_of(hints[field.name]):
            sections(part, f"{path}.{field.name}" if path else field.name, found)
    return found


def parts_of(hint) -> list:
    if is_dataclass(hint):
        return [hint]
    return [part for option in get_args(hint) for part in parts_of(option)]


@pytest.mark.parametrize("kind", COMMANDS, ids=COMMANDS.values())
def test_the_documented_keys_are_those_that_there_are(kind):
    text = Path(ROOT / "docs/training.md").read_text(encoding="utf-8")
    table = text.split(f"### `{COMMANDS[kind]}`")[1].split("\n#")[0]
    rows = [line.split("|")[1:3] for line in table.splitlines() if line.startswith("| ")][1:]
    documented = {}
    for paths, keys in rows:
        for path in paths.replace("the file itself", "").split(","):
            documented[path.strip(" `")] = set(re.findall(r"`(\w+)`", keys))
    assert documented == sections(kind, "", {})
