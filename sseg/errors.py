"""The exceptions that are meant for people: SSegError, and SSegValueError for what a caller passed."""

import unicodedata

_UNSEEN = ("Cc", "Cs", "Zl", "Zp")  # control characters, lone surrogates, line and paragraph separators
_DIRECTION = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # would turn the sentence round


class SSegError(Exception):
    """One sentence for the user: what is wrong, with what, and what to do about it.

    The command line prints it and exits with code 2, the app shows it as it is; any other exception is a bug. What
    cannot be printed, as in a file's name that is quoted, stands there as a question mark in a diamond.
    """

    def __init__(self, sentence: str = ""):
        super().__init__("".join("\ufffd" if _unseen(c) else c for c in sentence))


class SSegValueError(SSegError, ValueError):
    """The sentence is about a value that was passed and makes no sense: other programs expect a ValueError there.

    Missing and damaged files, networks and full disks are plain SSegErrors.
    """


def _unseen(character: str) -> bool:
    return character in _DIRECTION or unicodedata.category(character) in _UNSEEN


def shown(value, longest: int = 120) -> str:
    """A value as an error quotes it: its text, the middle left out where it is long."""
    try:
        text = value if isinstance(value, str) else str(value)
    except Exception:  # a number of 10,000 digits, or a class of somebody's own
        return f"a {type(value).__name__}"
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]}…{text[-half:]}"
