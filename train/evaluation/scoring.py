"""From a picture to the labels that a protocol gives it: windows, averaged class maps, background."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sseg import inference
from train.evaluation.baselines import Evidence, Model
from train.evaluation.protocols import Protocol

LONGEST = 2048
STRIDE = 4  # maps are kept at a quarter of the resized picture
WINDOWS_AT_ONCE = 8


class Reader(NamedTuple):
    """A model that was asked a list of classes under a protocol."""

    model: Model
    texts: Tensor  # (T, E)
    owners: Tensor  # (T,) the class of each text
    protocol: Protocol
    scale: float
    smallest: float | None
    background_class: bool  # whether class 0 of the texts is the background

    @torch.inference_mode()
    def __call__(self, image: np.ndarray) -> "Answer":
        """image (H, W, 3) uint8 -> scores of the classes that have texts."""
        pixels = resized(image, self.protocol.short_side, self.model.device)
        height, width = pixels.shape[2:]
        side = self.protocol.window or max(height, width)
        places = corners(height, width, side, self.protocol.stride)
        total, windows = None, []
        count = torch.zeros(height // STRIDE, width // STRIDE, device=pixels.device)
        for start in range(0, len(places), WINDOWS_AT_ONCE):
            part = places[start : start + WINDOWS_AT_ONCE]
            crops = torch.cat([pixels[..., y : y + side, x : x + side] for y, x in part])
            found = self.model.look(crops, self.texts)
            for (y, x), evidence in zip(part, found, strict=True):
                maps = window_maps(evidence, self.owners, self.scale, self.protocol)  # (C or T, h, w)
                maps = inference.upsample(maps, tuple(edge // STRIDE for edge in crops.shape[2:]))
                where = np.s_[y // STRIDE : y // STRIDE + maps.shape[1], x // STRIDE : x // STRIDE + maps.shape[2]]
                if total is None:
                    total = torch.zeros(len(maps), *count.shape, device=pixels.device)
                total[(slice(None), *where)] += maps
                count[where] += 1
                if self.protocol.background == "window":
                    windows.append((where, maps.amax(0)))
        scores = total / count
        if self.protocol.score == "pixels":
            scores = best_texts((scores * self.scale).softmax(0), self.owners)
        return Answer(scores, image.shape[:2], count, windows, self.smallest, self.background_class)


class Answer:
    """Scores of one picture: labels for any threshold, without asking the model again."""

    def __init__(self, scores, size, count=None, windows=(), smallest=None, background_class=False):
        """scores (C, h, w); size (H, W); see `Reader` for the rest."""
        self.scores, self.size, self.count, self.windows = scores, size, count, windows
        self.smallest, self.background_class, self._top = smallest, background_class, None

    def labels(self, threshold: float = 0.0) -> np.ndarray:
        """(H, W) int32: index of the class, -1 for background."""
        if self.windows and threshold > 0:
            plane = torch.zeros_like(self.count)
            for where, best in self.windows:
                plane[where] += (best < min(threshold, float(best.max()))).float()
            best, _ = inference.top_class(torch.cat([(plane / self.count)[None], self.scores]), self.size)
            return best.cpu().numpy() - 1
        best, confidence = self._best()
        best = np.where(confidence < threshold, -1, best) if threshold > 0 else best
        return np.where(best <= 0, -1, best - 1) if self.background_class else best

    def _best(self):
        if self._top is None:
            scores = self.scores
            if self.smallest:
                best, _ = inference.top_class(scores, self.size)
                shares = torch.bincount(best.flatten().long(), minlength=len(scores)) / best.numel()
                small = shares <= self.smallest
                small[0] = False
                scores = scores.masked_fill(small[:, None, None], 0)
            best, confidence = inference.top_class(scores, self.size)
            self._top = best.cpu().numpy(), confidence.cpu().numpy()
        return self._top


def resized(image: np.ndarray, short_side: int, device) -> Tensor:
    """uint8 (H, W, 3) -> float (1, 3, h, w) in 0..1; sides are multiples of 32, the short one `short_side`."""
    scale = min(short_side / min(image.shape[:2]), LONGEST / max(image.shape[:2]))
    size = tuple(max(64, round(edge * scale / 32) * 32) for edge in image.shape[:2])
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    return F.interpolate(pixels, size, mode="bilinear", antialias=True).to(device).float() / 255


def corners(height: int, width: int, side: int, stride: int) -> list[tuple[int, int]]:
    """Top-left corners of mmsegmentation's sliding windows: steps of `stride`, the last one moved back to the edge."""

    def starts(length):
        return [min(i * stride, max(length - side, 0)) for i in range(-(-max(length - side, 0) // stride) + 1)]

    return [(y, x) for y in starts(height) for x in starts(width)]


def window_maps(evidence: Evidence, owners: Tensor, scale: float, protocol: Protocol) -> Tensor:
    """Maps of one window: probabilities of the classes (C, h, w), or cosines of the texts (T, h, w) for "pixels"."""
    if protocol.score == "pixels":
        return spread(evidence, evidence.cosines, protocol.hard)
    logits = best_texts(evidence.cosines.T, owners).T * scale  # (N, C)
    probabilities = logits.softmax(1)
    if protocol.top_classes:
        image = best_texts(evidence.image[:, None], owners)[:, 0]
        kept = image.topk(min(protocol.top_classes, len(image))).indices
        shut = torch.full_like(image, -torch.inf)
        shut[kept] = 0
        probabilities = (logits + shut).softmax(1) * probabilities
    return spread(evidence, probabilities, protocol.hard)


def spread(evidence: Evidence, values: Tensor, hard: bool) -> Tensor:
    """Values of regions (N, C) to where the regions are: (C, h, w)."""
    if evidence.weights is None:
        return values.T.reshape(-1, *evidence.grid)
    weights = inference.mask_weights(evidence.weights, "hard") if hard else evidence.weights
    return (
        inference.combine_scores(weights, values)
        if values.min() >= 0
        else (values.T @ weights.flatten(1)).view(-1, *evidence.grid)
    )


def best_texts(values: Tensor, owners: Tensor) -> Tensor:
    """Values of texts (T, ...) -> of classes (C, ...): that of the best text of each."""
    classes = int(owners.max()) + 1
    if classes == len(owners):
        return values
    index = owners.view(-1, *[1] * (values.ndim - 1)).expand_as(values)
    return values.new_full((classes, *values.shape[1:]), -torch.inf).scatter_reduce(0, index, values, "amax")
