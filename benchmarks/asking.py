"""How the benchmarks of photographs ask: as the page does, and where what was found is right."""

import os
from pathlib import Path

import numpy as np

from sseg.arguments import BACKGROUND
from train.evaluation.datasets.photographs import DATA

ENOUGH = 0.5  # IoU from which a class counts as found


def data_folder(given=None) -> Path:
    """The folder given, else $SSEG_DATA, else data/ of the repository."""
    return Path(given or os.environ.get("SSEG_DATA") or DATA)


def own_background(segmenter) -> float:
    """The threshold that the page begins with: the weights' own where they have one, else the library's."""
    own = getattr(segmenter, "background", None)
    return BACKGROUND if own is None else float(own)


def overlap(found: np.ndarray, true: np.ndarray) -> float:
    """IoU of two masks (H, W) bool; 0 where both are empty."""
    return float((found & true).sum() / max((found | true).sum(), 1))


def per_cent(part: int, whole: int) -> float | None:
    """A share in per cent with one decimal; None of nothing."""
    return round(100 * part / whole, 1) if whole else None


def shown(share: float | None) -> str:
    """A share for a table."""
    return "    -" if share is None else f"{share:5.1f}"
