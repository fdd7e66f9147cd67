"""The one door that recipes come through: a file, changes from the command line, old names of keys."""

import argparse
from pathlib import Path

import yaml

from sseg.errors import SSegError, shown
from train.checkpoints import STATE
from train.recipe.features import ClusterDistill, Distill, Textons
from train.recipe.pretraining import Pretrain
from train.recipe.self_training import SelfTrain
from train.recipe.typed import build, mapping_of

COMMANDS = {Pretrain: "train.pretrain", SelfTrain: "train.self_train", Distill: "train.distill",
            ClusterDistill: "train.cluster_distill", Textons: "train.textons"}  # fmt: skip
RENAMED = {("loss", "rivals"): "distractors"}  # keys of older runs, and what they are called now
SAME_ON_RESUME = ("model", "tokenizer", "prototypes", "depth")  # what the sizes of a run's tensors come from
NAME = "recipe.yaml"  # of a run's folder


def read_arguments(kind: type, about: str, arguments: list[str] | None, resumable: bool = True):
    """The recipe that a command line `RECIPE [key=value ...] [--resume]` names, and whether to resume.

    Args:
        kind: one of `COMMANDS`; about: what the command's --help says first.
    Raises:
        SSegError: as `read_recipe`; the run's folder already holds a run and --resume is not there; with --resume, it
            holds none, or one of another model.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {COMMANDS[kind]}", description=about.split("\n")[0])
    parser.add_argument("recipe", help="a file of train/recipes")
    parser.add_argument("changes", nargs="*", metavar="key=value", help="changes to the recipe")
    if resumable:
        parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint of the run's folder")
    options = parser.parse_intermixed_args(arguments)  # changes may stand after --resume
    recipe, resume = read_recipe(kind, options.recipe, options.changes), resumable and options.resume
    if not resume and (Path(recipe.out) / STATE).is_file():
        raise SSegError(f"{recipe.out} already holds a run: add --resume to go on, or change out=.")
    if resume and not (Path(recipe.out) / STATE).is_file():
        raise SSegError(f"There is no run to resume in {recipe.out}; start it without --resume.")
    if resume and (Path(recipe.out) / NAME).is_file():
        _check_same(mapping_of(recipe), read_mapping(Path(recipe.out) / NAME), recipe.out)
    return recipe, resume


def read_recipe(kind: type, path, changes: list[str] = ()):
    """A recipe with changes such as `optimizer.lr=2e-3`, `stages.0.batch=8` or `out=runs/try`, as a dataclass.

    Raises:
        SSegError: no such file, no YAML, or a key or value that the recipe's `kind` does not have: a misspelt key must
            not run for hours unnoticed.
    """
    mapping = read_mapping(path)
    for change in changes:
        _change(mapping, change)
    _migrate(mapping)
    own = kind_of(mapping)
    if own is not kind and COMMANDS[own] != COMMANDS[kind]:
        raise SSegError(f"{path} is a recipe of {COMMANDS[own]}: give it to that command.")
    return build(kind, mapping)


def read_mapping(path) -> dict:
    """What a recipe's file holds, under the names that keys have now; its values are not checked.

    Raises:
        SSegError: no such file, or not YAML of keys and values.
    """
    path = Path(path)
    if not path.is_file():
        raise SSegError(f"There is no recipe {path}; the recipes of this project lie in train/recipes.")
    try:
        mapping = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        place = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise SSegError(f"{path} is not YAML{place}: indent with spaces, and write `key: value`.") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError):
        raise SSegError(f"{path} is not YAML: write `key: value` lines, in UTF-8.") from None
    if not isinstance(mapping, dict):
        raise SSegError(f"{path} holds no recipe: write `key: value` lines, as the files in train/recipes do.")
    return _migrate(mapping)


def kind_of(mapping: dict) -> type:
    """Which command a recipe is for, by the keys that only its recipes have."""
    if "dictionary" in mapping:
        return Textons
    if "prototypes" in mapping:
        return Distill
    if "target" in mapping:
        return SelfTrain
    return ClusterDistill if isinstance(mapping.get("teacher"), dict) else Pretrain


def _migrate(mapping: dict) -> dict:
    for (section, old), new in RENAMED.items():
        if isinstance(mapping.get(section), dict) and old in mapping[section]:
            mapping[section][new] = mapping[section].pop(old)
    return mapping


def _change(mapping: dict, change: str) -> None:
    """Apply one `key=value`."""
    path, sign, text = change.partition("=")
    if not sign or not path:
        raise SSegError(f"The change {shown(change)} has no key and value: write it as key=value.")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise SSegError(f"The value of the change {shown(change)} is not YAML: put it into quotes.") from None
    *parents, last = path.split(".")
    place = mapping
    for parent in parents:
        place = _step(place, parent, change)
    if isinstance(place, list):
        _step(place, last, change)
        last = int(last)
    place[last] = value


def _step(place, key: str, change: str):
    """What lies below a key, or a number of a list; an empty section where there is none yet."""
    if isinstance(place, list):
        if not key.isdecimal() or int(key) >= len(place):
            raise SSegError(f"The change {shown(change)} names no entry {key}: there are 0 to {len(place) - 1}.")
        return place[int(key)]
    if place.get(key) is None:
        place[key] = {}
    if not isinstance(place[key], dict | list):
        raise SSegError(f"The change {shown(change)} names a key below {key}, which is a value: change {key} itself.")
    return place[key]


def _check_same(recipe: dict, before: dict, out: str) -> None:
    for section in SAME_ON_RESUME:
        now, then = recipe.get(section), before.get(section)
        if isinstance(now, dict) and isinstance(then, dict):
            other = next((key for key in now | then if now.get(key) != then.get(key)), None)
            name, now, then = f"{section}.{other}", now.get(other), then.get(other)
        else:
            other, name = now != then or None, section
        if other is not None:
            raise SSegError(
                f"{name} is {shown(now, 60)}, but the run in {out} began with {shown(then, 60)}: change it "
                "back to resume, or start anew with another out=."
            )
