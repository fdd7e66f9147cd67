"""Numbers that people give: the number, or one sentence that says which are allowed."""

import numbers

from sseg.cost import DISTANCES
from sseg.errors import SSegValueError, shown

BACKGROUND = 0.15  # threshold of weights that name none of their own; chosen by a sweep (docs/log.md)


def whole(value, what: str, low: int, high: int, of: str = "") -> int:
    """A whole number between two others, or one sentence; 8.0 is whole, NaN is not."""
    try:
        number = int(value)
        fits = bool(number == value and low <= number <= high)
    except Exception:  # whatever a class of somebody's own raises
        fits = False
    if not fits:
        limit = f"{high} ({of})" if of else high
        raise SSegValueError(f"{what} must be a whole number from {low} to {limit}, not {shown(value, 40)}.")
    return number


def cluster_count(k, grid) -> int:
    """K: from 1 to the cells of a grid (h, w), or fewer where there are so many that it would take minutes."""
    cells = grid[0] * grid[1]
    most = min(cells, max(1, DISTANCES // cells))
    of = "the cells of the picture" if most == cells else f"more take too long with {cells} cells"
    return whole(k, "The number of clusters K", 1, most, of)


def seed_number(seed) -> int:
    """What random numbers begin with: 0 to 2^32 - 1."""
    return whole(seed, "The seed", 0, 2**32 - 1)


def share(value, what: str) -> float:
    """A number from 0 to 1, or one sentence; texts and NaN are none."""
    fits = isinstance(value, numbers.Real) and 0 <= value <= 1  # type: ignore[operator]  # numbers.Real names no order
    if not fits:
        raise SSegValueError(f"{what} must lie between 0 and 1, not at {shown(value, 40)}.")
    return float(value)


def of_type(value, wanted: type | tuple[type, ...], what: str) -> None:
    """SSegValueError for a value of another type, in a sentence such as "{what}, not list"."""
    if not isinstance(value, wanted):
        raise SSegValueError(f"{what}, not {type(value).__name__}.")


def check_background(threshold: float) -> float:
    """The background threshold: a score below it is nothing that was asked for. SSegError outside 0..1, or for what is
    no number."""
    return share(threshold, "The background threshold")
