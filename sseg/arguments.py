"""Numbers that people give: the number, or one sentence that says which are allowed."""

from sseg.errors import SSegError


def whole(value, what: str, low: int, high: int, of: str = "") -> int:
    """A whole number between two others, or one sentence; 8.0 is whole, NaN is not."""
    try:
        number = int(value)
        fits = number == value and low <= number <= high
    except (TypeError, ValueError, OverflowError):
        fits = False
    if not fits:
        limit = f"{high} ({of})" if of else high
        raise SSegError(f"{what} must be a whole number from {low} to {limit}, not {str(value):.40}.")
    return number


def cluster_count(k, grid) -> int:
    """K: from 1 to the cells of a grid (h, w)."""
    return whole(k, "The number of clusters K", 1, grid[0] * grid[1], "the cells of the picture")


def seed_number(seed) -> int:
    """What random numbers begin with: 0 to 2^32 - 1."""
    return whole(seed, "The seed", 0, 2**32 - 1)
