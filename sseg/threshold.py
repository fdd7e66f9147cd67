"""The background threshold: a score below it is nothing that was asked for."""

from sseg.errors import SSegError

BACKGROUND = 0.15  # of weights that name no threshold of their own; chosen by a sweep (docs/results.md)


def check_background(threshold: float) -> float:
    """The threshold; SSegError outside 0..1."""
    if not 0 <= threshold <= 1:
        raise SSegError(f"The background threshold must lie between 0 and 1, not at {threshold:g}.")
    return float(threshold)
