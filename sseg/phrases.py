"""What people type -> the classes to look for: one grammar, wherever phrases are read, compared or replaced.

Separators part classes; what is pasted around a phrase (quotes, brackets of a list, bullets) is not part of it; the
model reads `normal`, and phrases of one `key` are one phrase.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from sseg.errors import SSegError, SSegValueError

MAX_CLASSES = 200
MAX_TEXTS = 400  # synonyms of all classes together
MAX_LENGTH = 200  # characters of a phrase, its synonyms included
MAX_ENTRIES = 10_000  # of a list, empty and repeated ones included: an endless iterator ends here
MAX_NESTING = 8  # brackets around a phrase
MAX_CHARACTERS = 200_000  # of all that is typed

_SPACE = r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff]"  # what `clean` makes a space of
_SEPARATOR = re.compile(
    rf"([,;\n\r\v\f\x85\u2028\u2029\uff0c\u3001\uff1b\u060c\u061b]|(?:(?<={_SPACE})|^)\.(?={_SPACE}|$))"
)
_BAR = re.compile(r"[|\uff5c]")
_UNSEEN = ("Cc", "Cs")  # control characters, lone surrogates
_DIRECTION = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # would reorder text around them
_WITHOUT_WIDTH = "\u00ad\u200b\u2060\ufeff"  # soft hyphen, byte-order mark ...
_GONE = dict.fromkeys(map(ord, _DIRECTION + _WITHOUT_WIDTH))  # for str.translate
_QUOTES = set("\"'`\u00b4\u00ab\u00bb\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u2039\u203a\u300c\u300d")
_BULLETS = set("-*\u00b7\u2022\u2023\u2013\u2014")
_DASH = re.compile(r"[\u2010-\u2015\u2212\ufe58\ufe63\uff0d]")
_BRACKETS = {"[": "]", "(": ")", "{": "}"}
_IGNORED = set(
    "a an the this that these those some any of in on at with and or by to for from under over behind near into "
    "photo picture image photograph drawing view".split()
)


@dataclass(frozen=True)
class PhraseClass:
    """One class: the text as typed, and the synonyms that stand for it, as they are read (`normal`)."""

    text: str
    synonyms: tuple[str, ...]


def parse(phrases: str | Iterable[str]) -> list[PhraseClass]:
    """`a dog, grass, person|man|woman` -> three classes, the last with three synonyms.

    Args:
        phrases: text in which a comma, a semicolon (of any script), a new line or a full stop between spaces separates
            classes; or a list with a phrase a class (its commas stay). `|` separates synonyms in both.

    Returns:
        classes in the order given, each once (`key`); texts as typed, without what is only around them: spaces,
        control characters, quotes, bullets, the brackets of a list.

    Raises:
        SSegError: nothing left, too many classes, a phrase of more than `MAX_LENGTH` characters, or no text.
    """
    classes: dict[str, PhraseClass] = {}
    for parsed in filter(None, map(_parse_class, _entries(phrases))):
        classes.setdefault(key(parsed.text), parsed)
    if not classes:
        raise SSegValueError('There are no words to look for: type some, such as "dog, grass, sky".')
    if len(classes) > MAX_CLASSES:
        raise SSegValueError(f"{len(classes)} phrases are too many at once: ask for at most {MAX_CLASSES}.")
    count = sum(len(one.synonyms) for one in classes.values())
    if count > MAX_TEXTS:
        raise SSegValueError(f"{count} synonyms are too many at once: give at most {MAX_TEXTS} in all.")
    return list(classes.values())


def replace(phrases: str, old: str, new: str) -> str:
    """The text as typed, with the entries that are `old`, in any spelling of one `key`, replaced by `new`."""
    parts = _SEPARATOR.split(phrases.translate(_GONE))  # entries, with the separators between them
    for place in range(0, len(parts), 2):
        start, end = _core(parts[place])
        if start < end and key(parts[place][start:end]) == key(old):
            parts[place] = parts[place][:start] + new + parts[place][end:]
    return "".join(parts)


def normal(text: str) -> str:
    """How one phrase is read: compatible characters as one (NFKC), spaces for underscores, nothing around it."""
    text = unicodedata.normalize("NFKC", clean(text))
    text = clean(_DASH.sub("-", text).replace("_", " "))
    start, end = _core(text)
    return text[start:end]


def synonyms_of(text: str) -> list[str]:
    """`lorry | truck` -> ["lorry", "truck"], each as it is read."""
    return list(filter(None, map(normal, _BAR.split(text))))


def key(text: str) -> str:
    """What two spellings of one phrase share: `Tiled-Floor`, `"tiled_floor"` and `tiled floor` are the same."""
    return "|".join(filter(None, (normal(one.casefold().replace("-", " ")) for one in synonyms_of(text))))


def _entries(phrases) -> list:
    if isinstance(phrases, str):
        if len(phrases) > MAX_CHARACTERS:
            raise SSegValueError(f"{len(phrases):,} characters are too many at once: type at most {MAX_CHARACTERS:,}.")
        phrases = _SEPARATOR.split(phrases.translate(_GONE))[::2]
    if phrases is None:
        return []
    if isinstance(phrases, (bytes, bytearray)) or not isinstance(phrases, Iterable):
        raise SSegValueError(f"Phrases are a text or a list of texts, not {type(phrases).__name__}: quote the words.")
    try:
        entries = list(islice(phrases, MAX_ENTRIES + 1))
    except SSegError:
        raise
    except Exception as error:  # a generator of somebody's own
        raise SSegValueError(
            f"The list of phrases broke off ({type(error).__name__}): give a list of texts."
        ) from error
    if len(entries) > MAX_ENTRIES:
        raise SSegValueError(f"More than {MAX_ENTRIES:,} phrases are too many at once: ask for at most {MAX_CLASSES}.")
    return entries


def _parse_class(part) -> PhraseClass | None:
    if not isinstance(part, str):
        raise SSegValueError(f"A phrase is a text, not {type(part).__name__}: put the words in quotes.")
    text = part.translate(_GONE).strip()
    if len(text) <= 10 * MAX_LENGTH:  # what is longer is not worth a look at each character
        start, end = _core(text)
        text = clean(text[start:end])
    if len(text) > MAX_LENGTH:
        raise SSegValueError(
            f'The phrase "{clean(text[:20])}…" has {len(text):,} characters: use at most {MAX_LENGTH}.'
        )
    synonyms: dict[str, str] = {}
    for synonym in synonyms_of(text):
        synonyms.setdefault(key(synonym), synonym)
    return PhraseClass(text, tuple(synonyms.values())) if synonyms else None


def _core(part: str) -> tuple[int, int]:
    """Where in an entry the phrase itself begins and ends: inside of quotes, bullets and brackets of a list."""
    start, end = _inside(part, 0, len(part))
    for _ in range(MAX_NESTING):
        if start == end:
            break
        first, last = part[start], part[end - 1]
        if first in _BRACKETS and _closes(part, start, end) is None:  # ["frog"
            start += 1
        elif last in _BRACKETS.values() and _opens(part, start, end) is None:  # "pig"]
            end -= 1
        elif first in "[(" and _closes(part, start, end) == end - 1:  # [frog]
            start, end = start + 1, end - 1
        else:
            break
        start, end = _inside(part, start, end)
    return start, end


def _inside(part: str, start: int, end: int) -> tuple[int, int]:
    """The same without spaces, quotes and bullets at the ends, and the full stops behind."""
    while start < end and (_around(part[start]) or _SEPARATOR.match(part[start : start + 2])):  # ". dog"
        start += 1
    while start < end and (_around(part[end - 1]) or part[end - 1] == "."):
        end -= 1
    return start, end


def _around(character: str) -> bool:
    unseen = character.isspace() or unicodedata.category(character) in _UNSEEN
    return unseen or character in _QUOTES or character in _BULLETS


def _closes(part: str, start: int, end: int) -> int | None:
    """Place of the bracket that closes the one at `start`."""
    opening, depth = part[start], 0
    for place in range(start, end):
        depth += (part[place] == opening) - (part[place] == _BRACKETS[opening])
        if depth == 0:
            return place
    return None


def _opens(part: str, start: int, end: int) -> int | None:
    """Place of the bracket that opens the one at `end` - 1."""
    closing, depth = part[end - 1], 0
    opening = next(one for one, other in _BRACKETS.items() if other == closing)
    for place in range(end - 1, start - 1, -1):
        depth += (part[place] == closing) - (part[place] == opening)
        if depth == 0:
            return place
    return None


def clean(text: str) -> str:
    """Without control characters and marks that cannot be seen, runs of spaces as one, outer spaces gone."""
    kept = (" " if unicodedata.category(c) in _UNSEEN else c for c in text.translate(_GONE))
    return " ".join("".join(kept).split())


def content_words(text: str) -> set[str]:
    """Lower-case words that carry meaning, in the singular as far as a simple rule can: "the dogs" -> {"dog"}."""
    return {_singular(word) for word in words_of(text) if word not in _IGNORED}


def words_of(text: str) -> list[str]:
    """Lower-case words of a text, as they stand there; underscores and hyphens part them."""
    return re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text).casefold())


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("sses", "shes", "ches", "xes", "zes")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word
