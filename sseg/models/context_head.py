"""A light head for S-Seg+ behind an encoder with a past: each cell, what lies around it, and the whole picture.

The encoder's maps already see far; what is left to learn is which of the categories a cell is. Nothing here looks at
other cells but through means, so that a few cells of each picture are enough to learn from.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NEAR = 5  # cells along a side of what lies around a cell


class ContextHead(nn.Module):
    """Feature maps -> logits of the categories for each cell of the coarsest map."""

    def __init__(self, widths: list[int], width: int, classes: int, dropout: float = 0.2):
        """widths: channels of the encoder's maps, fine to coarse; width: of the two hidden layers."""
        super().__init__()
        self.norm = nn.BatchNorm1d(3 * sum(widths), affine=False)
        self.hidden = nn.Linear(3 * sum(widths), width)
        self.deeper = nn.Linear(width, width)
        self.classifier = nn.Linear(width, classes)
        self.drop = nn.Dropout(dropout)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (B, C_i, h_i, w_i), fine to coarse -> logits (B, C, h, w), h and w of the coarsest."""
        cells = describe(maps)
        batch, height, width, _ = cells.shape
        return self.classify(cells.flatten(0, 2)).view(batch, height, width, -1).permute(0, 3, 1, 2)

    def classify(self, cells: Tensor) -> Tensor:
        """Cells (n, F), some of what `describe` gives -> logits (n, C)."""
        states = F.gelu(self.hidden(self.drop(self.norm(cells))))  # (n, width)
        states = states + F.gelu(self.deeper(self.drop(states)))
        return self.classifier(self.drop(states))


def describe(maps: Sequence[Tensor]) -> Tensor:
    """Each cell of the coarsest map: itself, its neighbours, the whole picture. (B, h, w, 3 * sum of C_i)."""
    grid = (maps[-1].shape[2], maps[-1].shape[3])
    own = torch.cat([each if each.shape[2:] == grid else F.adaptive_avg_pool2d(each, grid) for each in maps], 1)
    around = F.avg_pool2d(own, NEAR, 1, NEAR // 2, count_include_pad=False)
    whole = own.mean((2, 3), keepdim=True).expand_as(own)
    return torch.cat([own, around, whole], 1).permute(0, 2, 3, 1)
