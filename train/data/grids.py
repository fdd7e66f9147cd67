"""Id grids of many pictures, each of its own size, cut by the windows that the pictures are cut by."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


class Grids:
    """Grids end to end in one tensor of bytes, so that a batch of windows is one look-up on the device."""

    def __init__(self, grids: list[np.ndarray], device):
        """grids: uint8 (h, w) for each of M pictures, at least one."""
        self.shapes = torch.tensor([grid.shape for grid in grids])  # (M, 2) rows, columns
        self.starts = self.shapes.prod(1).cumsum(0) - self.shapes.prod(1)  # (M,)
        self.ids = torch.from_numpy(np.concatenate([grid.ravel() for grid in grids])).to(device)

    def cut(self, images: list[int], theta: Tensor, size: int) -> Tensor:
        """Windows of the grids of n pictures -> ids (n, size, size) int64 on the device.

        Each output cell takes the id at its centre (nearest neighbour). theta: (n, 2, 3) from output to picture
        coordinates, both -1..1, as `train.data.tars.cut` takes them: cell (i, j) lies on pixels 4 i, 4 j and on of a
        picture that is cut to 4 x size.
        """
        device = self.ids.device
        shapes, starts = (part[images].to(device)[:, None, None] for part in (self.shapes, self.starts))
        rows, columns = shapes.unbind(-1)  # (n, 1, 1)
        centres = F.affine_grid(theta.to(device), [len(images), 1, size, size], align_corners=False)
        x, y = centres.unbind(-1)  # (n, size, size)
        return self.ids[starts + _cell(y, rows) * columns + _cell(x, columns)].long()


def _cell(place: Tensor, count: Tensor) -> Tensor:
    """The cell, of `count` that divide -1..1, that a place lies in."""
    return torch.minimum(((place + 1) / 2 * count).long().clamp_min(0), count - 1)
