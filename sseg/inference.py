"""From masks and embeddings to scores and labels: pure functions of tensors (paper.md, section 7 and 9.14)."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

STRIDE = 32  # the encoder's coarsest stride: sides are multiples of it
LIKELY = 0.5  # score from which a phrase is probably somewhere in a picture
OUTSIDE = -30.0  # mask logit outside of a window: a sigmoid of 1e-13
_STRIP = 250_000  # full-size score values worked on at once: 1 MB, which a core's cache holds


def target_size(height: int, width: int, long_side: int) -> tuple[int, int]:
    """Height and width for the model: the longer side `long_side`, at least 64, both multiples of 32.

    A coarsest map of one cell cannot be normalised by the pixel decoder, hence 64.
    """
    scale = max(long_side, 2 * STRIDE) / max(height, width)
    return tuple(max(STRIDE, round(side * scale / STRIDE) * STRIDE) for side in (height, width))


def resize(image: np.ndarray, size: tuple[int, int], device="cpu") -> Tensor:
    """uint8 (H, W, 3) -> uint8 (1, 3, h, w), with antialiasing; (h, w) = `size`."""
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]  # (1, 3, H, W), resized before it grows to floats
    return F.interpolate(pixels, size=size, mode="bilinear", antialias=True).to(device)


def normalise(pixels: Tensor, mean, std) -> Tensor:
    """uint8 (B, 3, h, w) -> float32 of the same shape, as the encoder takes it."""
    mean, std = (torch.tensor(value, device=pixels.device).view(1, 3, 1, 1) for value in (mean, std))
    return ((pixels.float() / 255 - mean) / std).contiguous()


def prepare(image: np.ndarray, size: tuple[int, int], mean, std, device="cpu") -> Tensor:
    """uint8 (H, W, 3) -> normalised float32 (1, 3, h, w), resized with antialiasing; (h, w) = `size`."""
    return normalise(resize(image, size, device), mean, std)


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


def even_out(mask_logits: Tensor, clusters: Tensor, k: int) -> Tensor:
    """Masks that end where clusters of cells end: logits (N, h, w) and ids (h, w) in 0..k-1 -> logits (N, h, w).

    The probability of a mask becomes its mean over each cluster. The network's masks are smooth and run over outlines;
    the clusters that it learned shapes from do not.
    """
    members = F.one_hot(clusters.flatten(), k).to(mask_logits.dtype)  # (hw, K)
    means = mask_logits.sigmoid().flatten(1) @ members / members.sum(0).clamp(min=1)  # (N, K)
    return torch.logit(means @ members.T, eps=1e-6).view_as(mask_logits)


def mask_weights(mask_logits: Tensor, combine: str = "soft") -> Tensor:
    """How much each query says about each pixel: (N, h, w) in [0, 1], summing to at most 1 over the queries.

    "soft": sigmoid(mask) / max(1, sum of sigmoids): MaskFormer's semantic inference, kept a probability where masks
    overlap; a pixel that no mask claims gets low scores and so becomes background. "hard": each pixel belongs to its
    best mask alone.
    """
    if combine == "hard":
        return F.one_hot(mask_logits.argmax(0), mask_logits.shape[0]).permute(2, 0, 1).to(mask_logits.dtype)
    if combine != "soft":
        raise ValueError(f'combine is "soft" or "hard", not {combine!r}')
    weights = mask_logits.sigmoid()
    return weights / weights.sum(0, keepdim=True).clamp(min=1)


def class_logits(
    mask_embeddings: Tensor, text_embeddings: Tensor, scale, groups: Tensor | None = None, offsets: Tensor | float = 0.0
):
    """Scaled cosines (N, C) of masks and classes, and which text won each: (N, C) index into the T texts.

    `offsets`, (T,) or (N, T), are taken off the logits of each text.

    `groups` (T,) names each text's class; a class is as near as its nearest synonym, so that synonyms never compete
    with one another in the softmax. Without groups each text is its own class.
    """
    cosines = mask_embeddings @ text_embeddings.T * scale - offsets  # (N, T)
    if groups is None:
        return cosines, torch.arange(cosines.shape[1], device=cosines.device).expand_as(cosines)
    classes = int(groups.max()) + 1
    best = cosines.new_full((cosines.shape[0], classes), -torch.inf)
    best = best.scatter_reduce(1, groups.expand_as(cosines), cosines, "amax")
    won = cosines == best[:, groups]  # (N, T)
    texts = torch.arange(len(groups), device=groups.device)
    winner = torch.zeros_like(best, dtype=torch.long)
    winner = winner.scatter_reduce(1, groups.expand_as(cosines), torch.where(won, texts, 0), "amax")
    return best, winner


def combine_scores(weights: Tensor, probabilities: Tensor) -> Tensor:
    """Sum over queries: weights (N, h, w) and probabilities (N, C) -> scores (C, h, w)."""
    scores = probabilities.T @ weights.flatten(1)
    return scores.clamp(max=1).view(-1, *weights.shape[1:])  # rounding may carry a sum of ones a little above


def contrast(scores: Tensor, share: float) -> Tensor:
    """Scores (C, h, w) of phrases, those that are likely somewhere measured against their best place there.

    Words that training often said are surer of themselves than others: where a lion's best place has 0.7, what has 0.5
    is as likely the lion as what has 0.7 is the dog where that has 1. So a phrase whose highest score is at least
    `LIKELY` has its scores divided by the `share`-th power of that; the others, which are probably nowhere, stay.
    """
    if not share:
        return scores
    best = scores.amax((1, 2), keepdim=True)
    return torch.where(best >= LIKELY, scores / best.clamp(min=LIKELY) ** share, scores)


def class_scores(
    weights: Tensor, mask_embeddings: Tensor, text_embeddings: Tensor, scale, groups: Tensor | None = None,
    offsets: Tensor | float = 0.0,
) -> Tensor:  # fmt: skip
    """Probability of each class at each pixel: (C, h, w) in [0, 1].

    Sum over queries of mask weight x softmax over classes of scale x cosine (paper.md, 9.14).

    Args:
        weights: (N, h, w) from `mask_weights`; mask_embeddings: (N, E) and text_embeddings: (T, E), of unit length.
        scale: one over the temperature.
        groups, offsets: see `class_logits`.
    """
    logits, _ = class_logits(mask_embeddings, text_embeddings, scale, groups, offsets)
    return combine_scores(weights, logits.softmax(1))


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (C, h, w) -> (C, H, W), bilinear."""
    return F.interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]


def contenders(scores: Tensor) -> Tensor:
    """Which classes can win between the samples of scores (C, h, w): (C, h + 1) bool, one for each row of cells.

    A bilinear value lies between the least and the greatest of its 2 x 2 neighbours, so a class whose greatest is
    below some other's least in every cell never wins: exact, and it spares most of a long list.
    """
    padded = F.pad(scores[None], (1, 1, 1, 1), mode="replicate")[0]
    left, right = padded[:, :, :-1], padded[:, :, 1:]
    high, low = torch.maximum(left, right), torch.minimum(left, right)  # four times as fast as max_pool2d
    high = torch.maximum(high[:, :-1], high[:, 1:])  # (C, h + 1, w + 1)
    low = torch.minimum(low[:, :-1], low[:, 1:])
    return (high >= low.amax(0)).any(2)


def top_class(scores: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The best class of each pixel at full size, from scores (C, h, w).

    Returns:
        best (H, W) int32 and its score (H, W) float32: the argmax of `upsample`, taken strip by strip, so that what is
        worked on stays in the cache and only the classes that can win in a strip are resized.
    """
    (rows, columns), h = size, scores.shape[1]
    best = torch.empty(size, dtype=torch.int32, device=scores.device)
    value = torch.empty(size, device=scores.device)
    possible = contenders(scores)  # (C, h + 1)
    source = ((torch.arange(rows, device=scores.device) + 0.5) * (h / rows) - 0.5).clamp(0, h - 1)  # row in the scores
    above = source.floor().long()
    below = (above + 1).clamp(max=h - 1)
    share = (source - above).view(1, -1, 1)
    values_at_once = _STRIP if scores.device.type == "cpu" else 64 * _STRIP
    height = max(1, values_at_once // (columns * int(possible.any(1).sum())))
    for top in range(0, rows, height):
        strip = slice(top, min(top + height, rows))
        first, end = int(above[strip.start]), int(above[strip.stop - 1]) + 2
        classes = possible[:, first + 1 : end].any(1).nonzero()[:, 0]
        lines = scores[classes, first:end]
        lines = upsample(lines, (lines.shape[1], columns))  # wider first: done on few rows, this costs least
        upper, lower = (lines.index_select(1, near[strip] - first) for near in (above, below))
        best[strip], value[strip] = _highest(torch.lerp(upper, lower, share[:, strip]), classes.to(torch.int32))
    return best, value


def _highest(maps: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Class of the highest of maps (C, H, W) at each pixel and its value, both (H, W); the first class of equals.

    `classes` (C,) int32, ascending. Class by class, in operations that have vector instructions: `max(0)`, which has
    none where it returns indices, and then `classes[index]` take two to five times as long.
    """
    value, best = maps[0], classes[0].expand(maps.shape[1:])
    for index, rival in zip(classes[1:], maps[1:], strict=True):
        best = torch.maximum(best, (rival > value) * index)  # a later class has a greater index
        value = torch.maximum(value, rival)
    return best, value


def at_pixel(maps: Tensor, x: int, y: int, size: tuple[int, int]) -> Tensor:
    """Values (C,) of maps (C, h, w) at pixel (x, y) of a picture of `size` (H, W); the same as in `upsample`."""
    grid = torch.tensor([[(2 * x + 1) / size[1] - 1, (2 * y + 1) / size[0] - 1]], device=maps.device, dtype=maps.dtype)
    sampled = F.grid_sample(maps[None], grid.view(1, 1, 1, 2), padding_mode="border", align_corners=False)
    return sampled[0, :, 0, 0]
