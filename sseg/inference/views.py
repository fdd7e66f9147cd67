"""How a model looks at an image: at which size, through which windows, and normalised."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

STRIDE = 32  # the encoder's coarsest stride: sides are multiples of it
OUTSIDE = -30.0  # mask logit outside of a window: a sigmoid of 1e-13


def target_size(height: int, width: int, long_side: int) -> tuple[int, int]:
    """Height and width for the model: the longer side `long_side`, at least 64, both multiples of 32.

    A coarsest map of one cell cannot be normalised by the pixel decoder, hence 64.
    """
    scale = max(long_side, 2 * STRIDE) / max(height, width)
    height, width = (max(STRIDE, round(side * scale / STRIDE) * STRIDE) for side in (height, width))
    return height, width


def resize(image: np.ndarray, size: tuple[int, int], device="cpu") -> Tensor:
    """uint8 (H, W, 3) -> uint8 (1, 3, h, w), with antialiasing; (h, w) = `size`."""
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]  # (1, 3, H, W), resized before it grows to floats
    return F.interpolate(pixels, size=size, mode="bilinear", antialias=True).to(device)


def normalise(pixels: Tensor, mean, std) -> Tensor:
    """uint8 (B, 3, h, w) -> float32 of the same shape, as the encoder takes it."""
    mean, std = (torch.tensor(value, device=pixels.device).view(1, 3, 1, 1) for value in (mean, std))
    return ((pixels.float() / 255 - mean) / std).contiguous()


def unmirrored(maps: Tensor) -> list[Tensor]:
    """Maps (B, C, h, w) of an image as it is and, if B is 2, mirrored -> each (C, h, w) as the image lies."""
    return [maps[0], *(one.flip(2) for one in maps[1:])]


def windows(height: int, width: int, side: int, stride: int = 4) -> list[tuple[int, int]]:
    """Top-left corners, multiples of `stride`, of square windows that cover a picture and overlap by half (as
    GroupViT's)."""

    def starts(length):
        count = -(-max(length - side, 0) // (side // 2)) + 1
        return [round(i * max(length - side, 0) / max(count - 1, 1)) // stride * stride for i in range(count)]

    return [(top, left) for top in starts(height) for left in starts(width)]


def assemble(window_logits: Tensor, corners: list[tuple[int, int]], size: tuple[int, int], stride: int = 4) -> Tensor:
    """Masks of windows (W, N, h, w) on one canvas: (W * N, size / stride), `OUTSIDE` beyond each window."""
    count, queries, h, w = window_logits.shape
    canvas = window_logits.new_full((count, queries, size[0] // stride, size[1] // stride), OUTSIDE)
    for i, (top, left) in enumerate(corners):
        canvas[i, :, top // stride : top // stride + h, left // stride : left // stride + w] = window_logits[i]
    return canvas.flatten(0, 1)
