"""What a source of training pairs gives in one draw."""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor


class MaskIds(NamedTuple):
    """Pseudo-masks of the images that have some: ids (M, h, w) int64, and `rows`, which images of the batch they are
    of. The other images have yet to be clustered."""

    ids: Tensor
    rows: list[int]


class Divided(NamedTuple):
    """Regions divided among what captions name (`train.assignment`): shares (B, N, C + 1) of groups in each region, and
    the numbers of the words that each image's captions say."""

    shares: Tensor
    named: list[list[int]]


@dataclass
class Batch:
    """Images, what is said of them, and their pseudo-masks.

    Attributes:
        images: pixels (B, 3, S, S) uint8; or kept maps, (B, C, h, w) of each level, fine to coarse; or kept features
            and measures of masks (B, N, D + 2).
        captions: B texts.
        mask_ids: None: every image has yet to be clustered.
        divided: None: regions were not divided.
    """

    images: Tensor | list[Tensor]
    captions: list[str]
    mask_ids: MaskIds | None = None
    divided: Divided | None = field(default=None, kw_only=True)

    def __len__(self) -> int:
        return len(self.captions)


def joined(parts: list[Batch]) -> Batch:
    """Batches of pixels one after the other."""
    ids, rows, first = [], [], 0
    for part in parts:
        if part.mask_ids:
            ids.append(part.mask_ids.ids)
            rows += [first + row for row in part.mask_ids.rows]
        first += len(part)
    captions = [text for part in parts for text in part.captions]
    return Batch(torch.cat([part.images for part in parts]), captions, MaskIds(torch.cat(ids), rows) if ids else None)
