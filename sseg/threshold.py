"""The background threshold: a score below it is nothing that was asked for."""

from sseg.arguments import share

BACKGROUND = 0.15  # of weights that name no threshold of their own; chosen by a sweep (docs/results.md)


def check_background(threshold: float) -> float:
    """The threshold; SSegError outside 0..1, or for what is no number."""
    return share(threshold, "The background threshold")
