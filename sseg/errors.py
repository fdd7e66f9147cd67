"""The one exception that is meant for people."""

import unicodedata

_UNSEEN = ("Cc", "Cs", "Zl", "Zp")  # control characters, lone surrogates, line and paragraph separators


class SSegError(Exception):
    """One sentence for the user: what is wrong, with what, and what to do about it.

    The command line prints it and exits with code 2, the app shows it as it is; any other exception is a bug. What
    cannot be printed, as in a file's name that is quoted, stands there as a question mark in a diamond.
    """

    def __init__(self, sentence: str = ""):
        super().__init__("".join("\ufffd" if unicodedata.category(c) in _UNSEEN else c for c in sentence))


def shown(value, longest: int = 120) -> str:
    """A value as an error quotes it: its text, the middle left out where it is long."""
    try:
        text = value if isinstance(value, str) else str(value)
    except Exception:  # a number of 10,000 digits, or a class of somebody's own
        return f"a {type(value).__name__}"
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]}…{text[-half:]}"
