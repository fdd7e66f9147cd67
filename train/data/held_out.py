"""Words that training must not see, so that it can be asked later what weights make of words that are new to them.

The list (assets/vocabularies/synonyms.yaml) gives each such word a known one: `puppy: dog`. Here the unseen words leave
the captions; what weights do with them is the business of `benchmarks.synonyms`.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import yaml

from sseg.errors import SSegError
from sseg.paths import ASSETS
from train.data.stickers.captions import describe_plural

SYNONYMS = ASSETS / "vocabularies" / "synonyms.yaml"


def read_groups(path=SYNONYMS) -> dict[str, dict[str, str]]:
    """Group -> {unseen word: known word}. SSegError if the file is missing, has another form or a word twice."""
    path = Path(path)
    try:
        groups = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        raise SSegError(f"{path} is missing or not YAML: give a file of groups with lines `unseen: known`.") from None
    pairs = [pair for group in groups.values() for pair in group.items()] if _are_groups(groups) else []
    if not pairs or not all(isinstance(word, str) for pair in pairs for word in pair):
        raise SSegError(f"{path} holds something else than groups of words: write lines `unseen: known` under each.")
    unseen = [word for word, _ in pairs]
    if twice := sorted({word for word in unseen if unseen.count(word) > 1}):
        raise SSegError(f'{path} has "{twice[0]}" in two groups: keep one of them.')
    return groups


def _are_groups(groups) -> bool:
    return isinstance(groups, dict) and all(isinstance(group, dict) for group in groups.values())


def held_out(path=SYNONYMS) -> set[str]:
    """All unseen words of a list, in the singular and the plural; a name of two words is one entry with its space."""
    unseen = [word.lower() for group in read_groups(path).values() for word in group]
    return {form for word in unseen for form in (word, describe_plural(word))}


def held_words(data) -> set[str]:
    """Words that captions go without, by the `held_out` of a recipe's data (a file, or nothing)."""
    path = getattr(data, "held_out", None)
    return held_out(path) if path else set()


def without(caption: str, held: Iterable[str]) -> str:
    """The caption without those words, in whatever case, with hyphens or 's; empty if it had no others.

    Only whole words go ("motorbike" stays where "bike" is held out), and everything else stays as it was, but for
    spaces, hyphens and commas that would be left hanging: "a puppy, asleep" -> "a, asleep".
    """
    shorter, count = _pattern(frozenset(held)).subn(" ", caption)
    return _tidied(shorter) if count else caption


@lru_cache
def _pattern(held: frozenset[str]) -> re.Pattern:
    longest_first = sorted(held, key=lambda words: (-len(words), words))
    words = "|".join(r"[\s-]+".join(map(re.escape, one.split())) for one in longest_first)
    return re.compile(rf"\b(?:{words})\b(?:['\u2019]s\b|(?<=s)['\u2019](?!\w))?" if words else r"(?!)", re.IGNORECASE)


def _tidied(caption: str) -> str:
    caption = re.sub(r"(?<!\w)-+(?=\w)|(?<=\w)-+(?!\w)", " ", caption)  # of "puppy-like", "dog-puppy"
    caption = re.sub(r"\s+(?=[,.;:!?])", "", caption)
    caption = re.sub(r"[,;:](?=[,.;:!?])", "", caption)
    return " ".join(caption.split()).lstrip(",;:!? ")
