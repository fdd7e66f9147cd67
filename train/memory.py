"""Pairs of the last steps as further negatives: a small batch alone is soon too easy to tell apart.

Cross-batch memory (Wang et al., "Cross-Batch Memory for Embedding Learning", CVPR 2020): embeddings drift slowly, so
those of a few steps ago still serve as negatives, at the price of one matrix product.
"""

import torch
from torch import Tensor


class Memory:
    """The last `size` pictures' regions (M, N, E) and texts (M, E), oldest first; empty at the start, none for 0."""

    def __init__(self, size: int, regions: int, dim: int, device):
        self.size = size
        self.regions = torch.empty(0, regions, dim, device=device)
        self.texts = torch.empty(0, dim, device=device)

    def add(self, regions: Tensor, texts: Tensor) -> None:
        """Take in a batch, forget the oldest."""
        if self.size:
            self.regions = torch.cat([self.regions, regions.detach()])[-self.size :]
            self.texts = torch.cat([self.texts, texts.detach()])[-self.size :]

    def state(self) -> dict[str, Tensor]:
        """What a resumed run needs."""
        return {"regions": self.regions, "texts": self.texts}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take over what `state` gave."""
        self.regions, self.texts = (state[name].to(self.texts.device) for name in ("regions", "texts"))
