"""Recipes of every training command, shrunk to a second, and one unbroken run of each that many tests share."""

import importlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

from sseg.models.small_vit import SmallViT
from tests.conftest import ROOT
from tests.helpers.tars import write_tar
from train.recipe import read_mapping, read_recipe
from train.recipe.reader import kind_of
from train.trainer import open_trainer

TRAINERS = ("pretrain", "self_train", "distill", "cluster_distill")
STEPS = 4  # of each run


def blocks(number: int) -> bytes:
    """A small picture of coarse colours, as a PNG."""
    coarse = Image.fromarray(np.random.default_rng(number).integers(0, 256, (2, 3, 3), np.uint8))
    buffer = io.BytesIO()
    coarse.resize((70, 50), Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def tars(tmp_path_factory) -> Path:
    """A folder with one tar of twenty pictures, each with two captions."""
    members = {}
    for number in range(20):
        things = ["dog", "house", "tree", "blue car"][number % 4], ["grass", "snow"][number % 2]
        captions = [f"a {things[0]} on the {things[1]}", f"a photo of a {things[0]} and a Käfer, {number}"]
        members |= {f"{number:02d}.png": blocks(number), f"{number:02d}.txt": "\n".join(captions).encode()}
    folder = tmp_path_factory.mktemp("tars")
    write_tar(folder / "some.tar", members)
    return folder


@pytest.fixture(scope="session")
def recipes(tars, tiny_weights, tmp_path_factory) -> dict[str, Path]:
    """A recipe file of each trainer; nothing of it needs the emoji font."""
    folder = tmp_path_factory.mktemp("recipes")
    made = {"pretrain": small_pretrain(tars), "self_train": small_self_train(tiny_weights, folder),
            "distill": small_distill(tars), "cluster_distill": small_cluster_distill(tars, folder)}  # fmt: skip
    same = {"device": "cpu", "precision": "fp32", "log_every": 2, "checkpoint_minutes": 0, "seed": 0}
    for name, content in made.items():
        content |= same | {"out": str(folder / "runs" / name)}
        content["optimizer"]["warmup"] = 2
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return {name: folder / f"{name}.yaml" for name in made}


def read(name: str) -> dict:
    """A recipe of the repository."""
    return yaml.safe_load((ROOT / "train/recipes" / f"{name}.yaml").read_text(encoding="utf-8"))


def small_pretrain(tars: Path) -> dict:
    small = read("pairs")
    small["data"] = {"name": "tars", "root": str(tars), "cache_size": 48}
    small["model"]["backbone"] |= {"embedding_size": 8, "hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}
    small["model"] |= {"fpn_dim": 32, "hidden_dim": 32, "num_queries": 6, "embed_dim": 32, "projector_dim": 32}
    small["model"] |= {"text_width": 32, "text_layers": 1}
    small["loss"] |= {"distractors": 8}
    stage = {"size": 32, "batch": 8, "k": 4}
    return small | {"stages": [stage | {"steps": STEPS - 1}, stage | {"steps": 1, "k": 6}],
                    "tokenizer": {"vocab_size": 300, "max_length": 8}}  # fmt: skip


def small_self_train(tiny_weights, folder: Path) -> dict:
    (folder / "pictures").mkdir()
    for number in range(12):
        (folder / "pictures" / f"{number:03d}.png").write_bytes(blocks(number))
    shutil.copytree(tiny_weights, folder / "teacher")
    made = read("plus-stickers")
    backbone = {"name": "small-vit", "width": 16, "depth": 4, "heads": 2, "stem": [8, 8], "out": 8}
    made |= {"teacher": str(folder / "teacher"), "init": None, "views": [64], "steps": STEPS, "batch": 2}
    made |= {"data": {"name": "folder", "root": str(folder / "pictures"), "size": 64}, "target": "photographs"}
    made |= {"balanced": 6, "mirrored": True, "unsure": {"name": "share", "keep": 0.6}}
    made["crop"]["size"] = 64
    return made | {"model": {"backbone": backbone, "head_width": 8, "image_size": 64}}


def small_distill(tars: Path) -> dict:
    small = read("features-mini")
    small["model"] |= {"width": 16, "depth": 1, "heads": 2, "stem": [8, 8], "out": 8}
    small["loss"]["group"] = 2
    small["data"] |= {"size": 64, "photographs": str(tars), "stickers": 0.0}
    stage = small["stages"][0]
    stage |= {"steps": STEPS // 2, "batch": 4, "large": stage["large"] | {"size": 32}, "pieces": 2}
    stage["small"] |= {"size": 16, "count": 1}
    return small | {"prototypes": 32, "stages": [stage, stage | {"large": stage["large"] | {"size": 40}}]}


def small_cluster_distill(tars: Path, folder: Path) -> dict:
    torch.manual_seed(0)
    network, first = SmallViT(width=16, depth=1, heads=2, stem=[8, 8], out=8), folder / "first"
    first.mkdir()
    (first / "config.json").write_text(json.dumps(network.config))
    save_file(network.state_dict(), first / "model.safetensors")
    small = read("features-mini-2")
    small["data"] |= {"size": 80, "photographs": str(tars), "scenes": 0}
    small["teacher"] |= {"weights": str(first), "resolution": 96, "k": [2, 4]}
    small["loss"]["group"] = 2
    return small | {"stages": [{"steps": STEPS, "batch": 4, "size": 32, "area": [0.4, 1.0]}]}


def trainer_of(name: str, path, *changes: str, resume: bool = False):
    """The trainer of a recipe file, ready for its first step."""
    recipe = read_recipe(kind_of(read_mapping(path)), path, changes)
    trainer = open_trainer(importlib.import_module(f"train.{name}").Run, recipe, resume)
    trainer.run.model.train()
    return trainer


def main_of(name: str):
    """A training command."""
    return importlib.import_module(f"train.{name}").main


@pytest.fixture(scope="session")
def unbroken(recipes):
    """The folder of a run from its start to its end, by the trainer's name; made once, to be read only."""
    made = {}

    def folder(name: str) -> Path:
        if name not in made:
            assert main_of(name)([str(recipes[name])]) == 0
            made[name] = Path(read_mapping(recipes[name])["out"])
        return made[name]

    return folder


def same_state(one: Path, other: Path) -> None:
    """Both runs have the very same state, but for the seconds that they took."""
    whole, parts = load_file(one / "state.safetensors"), load_file(other / "state.safetensors")
    assert whole.keys() == parts.keys()
    for name in whole.keys() - {"seconds"}:
        assert torch.equal(whole[name], parts[name]), name


def lines_of(folder: Path) -> list[dict]:
    """The lines of a run's log."""
    return [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
