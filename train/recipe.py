"""A run's recipe: one YAML file plus `key=value` changes from the command line."""

import argparse
from pathlib import Path

import yaml

from sseg.errors import SSegError
from train.checkpoints import STATE


def read_arguments(program: str, about: str, arguments: list[str] | None, resumable: bool = True) -> tuple[dict, bool]:
    """The recipe that a command line `RECIPE [key=value ...] [--resume]` names, and whether to resume.

    Raises SSegError as `read_recipe`, and where the run's folder already holds a run and --resume is not there.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description=about.split("\n")[0])
    parser.add_argument("recipe", help="a file of train/recipes")
    parser.add_argument("changes", nargs="*", metavar="key=value", help="changes to the recipe")
    if resumable:
        parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint of the run's folder")
    options = parser.parse_intermixed_args(arguments)  # changes may stand after --resume
    recipe, resume = read_recipe(options.recipe, options.changes), resumable and options.resume
    if not resume and (Path(recipe["out"]) / STATE).is_file():
        raise SSegError(f"{recipe['out']} already holds a run: add --resume to go on, or change out=.")
    if resume and not (Path(recipe["out"]) / STATE).is_file():
        raise SSegError(f"There is no run to resume in {recipe['out']}; start it without --resume.")
    return recipe, resume


def read_recipe(path: str, changes: list[str] = ()) -> dict:
    """Read a recipe and apply changes such as `optimizer.lr=2e-3` or `out=runs/try`.

    A key that the recipe does not have is an error: a misspelt change must not run for hours unnoticed.
    """
    if not Path(path).is_file():
        raise SSegError(f"There is no recipe {path}; the recipes of this project lie in train/recipes.")
    recipe = yaml.safe_load(Path(path).read_text())
    for change in changes:
        key, sign, text = change.partition("=")
        *parents, last = key.split(".")
        place = recipe
        for parent in parents:
            place = place.get(parent) if isinstance(place, dict) else None
        if not sign or not isinstance(place, dict) or last not in place:
            raise SSegError(f"The change {change!r} does not name a key of {path}; write it as key=value.")
        place[last] = _number(yaml.safe_load(text))
    return recipe


def _number(value):
    """YAML reads 2e-3 as text; people write it."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value
