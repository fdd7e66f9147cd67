"""Labelled cells of kept maps: what a head that sees each cell by itself learns from (`sseg.models.context_head`).

A few of each photograph are enough, since neighbours say nearly the same; drawn once, they lie in memory.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from sseg.models.context_head import describe
from train.data.kept_images import KeptImages

AT_ONCE = 16  # photographs


class Cells(NamedTuple):
    """described (n, F) float16, as `describe` gives them; ids (n,) int64, each one's category."""

    described: Tensor
    ids: Tensor


@torch.inference_mode()
def draw_cells(images: KeptImages, labels: Tensor, ignored: int, each: int, rare: float, seed: int) -> Cells:
    """At most `each` labelled cells of every photograph, those of rare categories more often.

    Args:
        labels: (M, h, w) uint8, index of the category or `ignored`.
        rare: a cell counts as its category's share of all labels to the power of minus this; 0: all alike.
    """
    generator = torch.Generator().manual_seed(seed)
    known = labels != ignored
    weight = torch.bincount(labels[known].int(), minlength=256).clamp(min=1).float() ** -rare  # (256,)
    described, ids = [], []
    for first in range(0, len(labels), AT_ONCE):
        rows = list(range(first, min(first + AT_ONCE, len(labels))))
        cells = describe(images.maps(rows)).flatten(1, 2)  # (n, hw, F)
        for row, own in zip(rows, cells, strict=True):
            some = known[row].flatten().nonzero()[:, 0]
            if not len(some):
                continue
            names = labels[row].flatten()[some].long()
            chosen = torch.multinomial(weight[names], min(each, len(some)), generator=generator)
            described.append(own[some[chosen]].half())
            ids.append(names[chosen])
    return Cells(torch.cat(described), torch.cat(ids))
