"""What people type -> the classes to look for."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from sseg.errors import SSegError

MAX_CLASSES = 200
MAX_TEXTS = 400  # synonyms of all classes together
MAX_LENGTH = 200  # characters of a phrase, its synonyms included

_UNSEEN = ("Cc", "Cs")  # control characters, lone surrogates
_DIRECTION = set("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # would reorder text around them
_IGNORED = set(
    "a an the this that these those some any of in on at with and or by to for from under over behind near into "
    "photo picture image photograph drawing view".split()
)


@dataclass(frozen=True)
class PhraseClass:
    """One class: the text as typed, and the synonyms that stand for it."""

    text: str
    synonyms: tuple[str, ...]


def parse(phrases: str | Iterable[str]) -> list[PhraseClass]:
    """`a dog, grass, person|man|woman` -> three classes, the last with three synonyms.

    Args:
        phrases: text in which comma, semicolon or new line separate classes; or a list with a phrase a class (its
            commas stay). `|` separates synonyms in both.

    Returns:
        classes in the order given, each once; texts as typed, without outer spaces and control characters.

    Raises:
        SSegError: nothing left, too many classes, or a phrase of more than `MAX_LENGTH` characters.
    """
    parts = re.split(r"[,;\n\r]", phrases) if isinstance(phrases, str) else list(phrases)
    classes: dict[str, PhraseClass] = {}
    for parsed in filter(None, map(_parse_class, parts)):
        classes.setdefault(parsed.text.casefold(), parsed)
    if not classes:
        raise SSegError('There are no words to look for: type some, such as "dog, grass, sky".')
    if len(classes) > MAX_CLASSES:
        raise SSegError(f"{len(classes)} phrases are too many at once: ask for at most {MAX_CLASSES}.")
    count = sum(len(one.synonyms) for one in classes.values())
    if count > MAX_TEXTS:
        raise SSegError(f"{count} synonyms are too many at once: give at most {MAX_TEXTS} in all.")
    return list(classes.values())


def _parse_class(part) -> PhraseClass | None:
    if not isinstance(part, str):
        raise SSegError(f"A phrase is a text, not {type(part).__name__}: put the words in quotes.")
    text = clean(part)
    if len(text) > MAX_LENGTH:
        raise SSegError(f'The phrase "{text[:20]}…" has {len(text):,} characters: use at most {MAX_LENGTH}.')
    synonyms: dict[str, str] = {}
    for synonym in filter(None, map(str.strip, text.split("|"))):
        synonyms.setdefault(synonym.casefold(), synonym)
    return PhraseClass(text, tuple(synonyms.values())) if synonyms else None


def clean(text: str) -> str:
    """Without control characters and direction marks, runs of spaces as one, outer spaces gone."""
    kept = [" " if unicodedata.category(c) in _UNSEEN else c for c in text if c not in _DIRECTION]
    return " ".join("".join(kept).split())


def content_words(text: str) -> set[str]:
    """Lower-case words that carry meaning, in the singular as far as a simple rule can: "the dogs" -> {"dog"}."""
    return {_singular(word) for word in words_of(text) if word not in _IGNORED}


def words_of(text: str) -> list[str]:
    """Lower-case words of a text, as they stand there."""
    return re.findall(r"\w+", text.casefold())


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("sses", "shes", "ches", "xes", "zes")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word
