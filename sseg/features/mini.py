"""Features of features-mini, the small ViT that was trained on pictures alone (train/features.py)."""

from sseg.errors import SSegError
from sseg.features.base import FeatureSource


class MiniFeatures(FeatureSource):
    """Tokens of the bundled ViT, as unit vectors."""

    name = "mini"
    label = "small ViT, learned here without labels"

    def __init__(self, device="cpu"):
        """Raises SSegError: the weights are not bundled."""
        raise SSegError("The weights features-mini are not bundled in this version: choose the features pixels.")

    def __call__(self, pixels, grid):
        raise NotImplementedError
