"""A run's recipe: one YAML file plus `key=value` changes from the command line."""

from pathlib import Path

import yaml

from sseg.errors import SSegError


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
