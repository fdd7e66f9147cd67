"""Phrases out of captions: "a photo of two dogs on the grass" -> "dogs", "grass".

People later ask for single phrases, while captions are sentences: training on both closes the gap. Cut by a list of
function words alone, no parser and no list of classes, so it serves any English captions. What it gets wrong ("soccer
ball today") is noise of the kind that captions have anyway.
"""

import random
import re
import zlib
from collections import Counter

import torch

# Words between phrases: a caption is cut here.
_BREAKS = frozenset(
    "a an the this that these those some any my our your his her its their it he she they we i you there here who what "
    "which where while when and or but with without in on at by near to from into onto over under above below behind "
    "beside between against along around across through front next for as like up down off out left right inside "
    "outside is are was were be being been am has have had do does did not no just only so very".split()
)
_NUMBERS = frozenset("one two three four five six seven eight nine ten several many few both pair couple".split())
# Talk about pictures and the day, which names nothing in them.
TALK = frozenset(
    "photo photos photograph picture pictures image images pic pics snapshot shot view close-up closeup close detail "
    "background foreground stock free download resolution high look looking seen spotted found love today again "
    "new".split()
)
_LEADING = _NUMBERS | TALK | {"of", "s"}
_TRAILING = TALK | {"of"}
_LONGEST = 4  # words of a phrase
MOST = 8  # phrases of a caption that count
WIDEST = 16  # and with the wider names of their words
_TOKEN = re.compile(r"\w[\w'-]*|[^\s\w]")


def extract_phrases(caption: str) -> list[str]:
    """The distinct phrases of a caption in lower case, in their order; empty where it has none."""
    found, words = [], []
    for token, breaks in tokens_of(caption):
        if not breaks:
            words.append(token)
            continue
        phrase = _trimmed(words)
        if phrase:
            found.append(phrase)
        words = []
    return list(dict.fromkeys(found))


def tokens_of(caption: str) -> list[tuple[str, bool]]:
    """Words and signs in lower case, and whether a caption is cut there; a full stop at the end."""
    tokens = [*_TOKEN.findall(caption.lower()), "."]
    return [(token, not token[0].isalnum() or token in _BREAKS) for token in tokens]


def _trimmed(words: list[str]) -> str:
    while words and (words[0] in _LEADING or words[0].isdigit()):
        words = words[1:]
    while words and (words[-1] in _TRAILING or words[-1].isdigit()):
        words = words[:-1]
    return " ".join(words[:_LONGEST])


def draw(captions: list[str], n: int, seed: int, widen=lambda phrases: phrases) -> tuple[list[str], list[list[str]]]:
    """For a batch of B captions: B * n phrases, n of each caption in turn, and all phrases of each.

    Drawn without repeating where a caption has enough; a caption without phrases gives itself. `widen` adds to the
    phrases of a caption (`train.data.kinds.with_wider`).
    """
    rng = random.Random(seed)
    every = [widen((extract_phrases(caption) or [caption.lower()])[:MOST])[:WIDEST] for caption in captions]
    chosen = [phrase for own in every for phrase in (rng.sample(own, n) if len(own) >= n else rng.choices(own, k=n))]
    return chosen, every


def common(captions: list[str], least: int = 2, widen=lambda phrases: phrases) -> list[str]:
    """Phrases that occur at least so often, in the order of the alphabet; `widen` as in `draw`."""
    counts = Counter(phrase for caption in captions for phrase in widen(extract_phrases(caption)))
    return sorted(phrase for phrase, count in counts.items() if count >= least)


def some(known: list[str], n: int, seed: int) -> list[str]:
    """At most n of the known phrases."""
    return random.Random(seed).sample(known, min(n, len(known)))


def number(phrases: list[str]) -> torch.Tensor:
    """Phrases as numbers that mean the same in every process: (P,) int64."""
    return torch.tensor([zlib.crc32(phrase.encode()) for phrase in phrases])


def numbered(chosen: list[str], every: list[list[str]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Numbers of the chosen phrases (P,) and of all of each caption (B, WIDEST), filled up with -1; see `number`."""
    rows = [[zlib.crc32(phrase.encode()) for phrase in own] for own in every]
    padded = [row + [-1] * (WIDEST - len(row)) for row in rows]
    return number(chosen), torch.tensor(padded)


def words_of(caption: str) -> list[str]:
    """Lower-case words of a caption without punctuation."""
    return [word for word in (w.strip(".,!?:;\"'()#").lower() for w in caption.split()) if word]
