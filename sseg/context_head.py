"""A light head for S-Seg+ behind an encoder with a past: 1x1 convolutions, wide depthwise ones, the whole picture.

The encoder's maps already see far, so that each place needs little more than to know its neighbours and what else the
picture shows. It costs a tenth of UperNet, which matters where kept maps of a frozen encoder are all that is trained on.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

REACH = 5  # cells along a side that a depthwise convolution looks at


class ContextHead(nn.Module):
    """Feature maps -> logits of the categories at the coarsest of them."""

    def __init__(self, widths: list[int], width: int, classes: int, blocks: int = 2, dropout: float = 0.1):
        """widths: channels of the encoder's maps, fine to coarse; width: of the head."""
        super().__init__()
        self.norm = nn.BatchNorm2d(sum(widths))
        self.drop = nn.Dropout2d(dropout)
        self.here = nn.Conv2d(sum(widths), width, 1)
        self.picture = nn.Linear(sum(widths), width)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(blocks)))
        self.classifier = nn.Conv2d(width, classes, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (B, C_i, h_i, w_i), fine to coarse -> logits (B, C, h, w), h and w of the coarsest."""
        grid = maps[-1].shape[2:]
        cells = torch.cat([each if each.shape[2:] == grid else F.adaptive_avg_pool2d(each, grid) for each in maps], 1)
        cells = self.drop(self.norm(cells))  # (B, sum of C_i, h, w)
        states = self.here(cells) + self.picture(cells.mean((2, 3)))[:, :, None, None]  # (B, width, h, w)
        return self.classifier(F.gelu(self.blocks(states)))


class Block(nn.Module):
    """Depthwise convolution, then two layers for each place, beside what came in (ConvNeXt's block with batch norm)."""

    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, REACH, padding=REACH // 2, groups=width, bias=False),
            nn.BatchNorm2d(width),
            nn.Conv2d(width, 2 * width, 1),
            nn.GELU(),
            nn.Conv2d(2 * width, width, 1),
        )

    def forward(self, states: Tensor) -> Tensor:  # (B, width, h, w) -> the same
        return states + self.layers(states)
