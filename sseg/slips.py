"""Slips of the pen: which known text somebody may have meant to type."""

import difflib
from collections.abc import Sequence

SHORTEST = 4  # letters of a word that may be a slip
ALIKE = 0.85  # difflib's ratio, 0..1, from which a word may be meant for another


def slips(word: str, texts: Sequence[str], n: int = 3) -> list[str]:
    """Up to `n` of the texts that a lower-case word may be a slip for, the most alike first.

    Either two neighbouring letters are swapped ("frgo"), or the two are alike ("girafe").
    """
    if len(word) < SHORTEST:
        return []
    swapped = [text for text in texts if _swapped(word, text)]
    return list(dict.fromkeys([*swapped, *difflib.get_close_matches(word, texts, n, ALIKE)]))[:n]


def _swapped(word: str, text: str) -> bool:
    if len(word) != len(text) or word == text:
        return False
    i = next(i for i in range(len(word)) if word[i] != text[i])
    return word[:i] + word[i : i + 2][::-1] + word[i + 2 :] == text
