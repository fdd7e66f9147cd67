"""What one picture may cost: numbers that each fit, but not with one another, are refused before anything runs."""

import math

from sseg.errors import SSegValueError

SEEN = 10_000_000  # pixels that go through a network for one picture, in all views or windows together: up to 2 GB
DISTANCES = 2**22  # of cells and clusters for one division: seconds
CURVE = 2**24  # the same for all divisions of a curve over K
SPECTRAL_CELLS, SPECTRAL_K = 8192, 64  # beyond, spectral clustering takes minutes


def check_seen(sizes, side: int, how: str = "") -> None:
    """SSegError if views or windows of these sizes (h, w) are too much; they were made for the long side `side`."""
    seen = sum(height * width for height, width in sizes)
    if seen > SEEN:
        most = int(side * math.sqrt(SEEN / seen)) // 32 * 32
        raise SSegValueError(
            f"A long side of {side}{how} would make {seen / 1e6:.1f} megapixels of this picture, of "
            f"{SEEN / 1e6:.0f} at most: choose a long side of at most {most}."
        )


def check_spectral(k: int, cells: int) -> None:
    """SSegError for a division by spectral clustering that would take minutes."""
    if cells > SPECTRAL_CELLS:
        raise SSegValueError(
            f"Spectral clustering takes minutes for {cells} cells: choose a resolution of at most "
            f"{8 * math.isqrt(SPECTRAL_CELLS)}, or kmeans."
        )
    if k > SPECTRAL_K:
        raise SSegValueError(
            f"Spectral clustering takes minutes for {k} clusters: choose at most {SPECTRAL_K}, or kmeans."
        )
