"""Targets of self-training: a list of categories, and which unlabelled pictures to learn them from."""

from typing import NamedTuple

import yaml

from sseg.errors import SSegError
from sseg.paths import ASSETS
from train.data.stickers.glyphs import load_vocabulary


class Target(NamedTuple):
    """categories: a phrase each, synonyms joined by `|`; things: of the rendered world, empty for photographs."""

    categories: list[str]
    things: list[str]


def load_target(name: str) -> Target:
    """The target of assets/targets/NAME.yaml; SSegError where there is none."""
    path = ASSETS / "targets" / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml")))
        raise SSegError(f'There is no target "{name}": take one of {known}, or write {path.name} beside them.')
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if "things" not in content:
        return Target(content["categories"], [])
    materials = [material.name for material in load_vocabulary().materials]
    return Target([*content["things"], *materials], content["things"])
