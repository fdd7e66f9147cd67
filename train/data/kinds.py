"""Wider names: a caption that says "man" says "person", too, and a picture called a collie holds a dog."""

from functools import cache
from typing import NamedTuple

import yaml

from sseg.paths import ASSETS

PATH = ASSETS / "vocabularies" / "kinds.yaml"


class Kinds(NamedTuple):
    """of: wider name -> its kinds; wider: kind -> wider name; part_of: part -> what it is a part of.

    classes: wider name -> numbers of ImageNet classes; surroundings: words for what lies around things; things: more
    words for things.
    """

    of: dict[str, list[str]]
    wider: dict[str, str]
    part_of: dict[str, str]
    classes: dict[str, list[int]]
    surroundings: frozenset[str]
    things: frozenset[str]

    def kind_of(self, word: str) -> str:
        """ "surroundings", "thing", or "other" for a word that no place of a photograph is named with."""
        return "surroundings" if word in self.surroundings else "thing" if word in self.naming else "other"

    @property
    def naming(self) -> frozenset[str]:
        """All words that a place of a photograph may be named with."""
        return self.surroundings | self.things | {*self.of, *self.classes, *self.wider, *self.part_of}


@cache
def load_kinds() -> Kinds:
    """assets/vocabularies/kinds.yaml."""
    content = yaml.safe_load(PATH.read_text(encoding="utf-8"))
    of = {name: words.split() for name, words in content["kinds"].items()}
    wider = {word: name for name, words in of.items() for word in words}
    part_of = {word: name for name, words in content["parts"].items() for word in words.split()}
    classes = {name: numbers(text) for name, text in content["classes"].items()}
    return Kinds(of, wider, part_of, classes, frozenset(content["surroundings"].split()),
                 frozenset(content["things"].split()))  # fmt: skip


def numbers(text) -> list[int]:
    """ "0-2 7" -> [0, 1, 2, 7]."""
    found = []
    for part in str(text).split():
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def with_wider(phrases: list[str]) -> list[str]:
    """The phrases of a caption and behind them the wider names of their words, each once."""
    wider = load_kinds().wider
    return list(dict.fromkeys([*phrases, *(wider[w] for phrase in phrases for w in phrase.split() if w in wider)]))
