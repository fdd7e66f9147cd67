"""What every kind of weights promises: encode an image once, ask about it many times."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sseg import images, inference
from sseg.arguments import check_background, share, whole
from sseg.cost import check_seen
from sseg.segmentation import Segmentation

LONG_SIDES = (64, 4096)  # pixels at which an image may be looked at
CANDIDATES = 3  # phrases that are asked for to suggest one


class Segmenter(ABC):
    """Weights that answer questions about images.

    `sseg.load` gives one of two kinds: S-Seg answers to free words (`sseg.open_vocabulary`), S-Seg+ to its own
    categories (`sseg.fixed_vocabulary`). Whoever keeps to what stands here works with both.

    Attributes:
        name: what the weights were loaded by.
        categories: the only texts that can be asked for; None: any words.
    """

    categories: list[str] | None = None

    def __init__(self, model, name: str = ""):
        self.model, self.name = model.eval(), name

    @abstractmethod
    def encode(self, image, *, sliding: bool = False, long_side: int | None = None) -> Any:
        """Run the image through the model, once for all questions; what it gives has `size` (H, W) and `nbytes`."""

    @abstractmethod
    def ask(self, encoded, phrases, background: float | None = None, *, competitors: bool = True) -> Segmentation:
        """Where is what? The image does not run through the model again.

        Args:
            encoded: from `encode` of the same weights.
            phrases: "a dog, grass, person|man|woman", or a list with a phrase a class.
            background: a pixel whose best score is below becomes background, 0..1; None: the weights' own.
            competitors: what else the weights know takes part, so that one word does not fill the image; False: the
                phrases share each pixel among themselves.
        """

    def suggest(self, encoded, limit: int = 10, least: float = 0.01) -> list[dict]:
        """What is here? Phrases that the weights know and find in the image, what covers and fits most first.

        Args:
            encoded: from `encode` of the same weights.
            limit: how many phrases at most.
            least: share of the image, 0..1, that a phrase has to win at the weights' own threshold.

        Returns:
            A list of {"phrase", "area" 0..1, "score" 0..1}, which may be empty; of synonyms and of a thing and its
            kinds ("person", "man") one.

        Raises:
            SSegError: a limit that is no whole number from 1 to 50, a share outside 0..1, or what other weights
                encoded.

        Example:
            >>> segmenter.suggest(segmenter.encode("dog.jpg"))  # doctest: +SKIP
            [{'phrase': 'dog', 'area': 0.24, 'score': 0.85}, {'phrase': 'carpet', 'area': 0.05, 'score': 0.74}]
        """
        limit, least = whole(limit, "The number of suggestions", 1, 50), share(least, "The least share")
        candidates = self._candidates(encoded, CANDIDATES * limit)
        if not candidates:
            return []
        answer = self.ask(encoded, candidates)
        rows = zip(candidates, answer.areas, answer.mean_scores, strict=True)
        found: list[dict[str, Any]]
        found = [{"phrase": phrase, "area": area, "score": score} for phrase, area, score in rows if area]
        found = [one for one in found if one["area"] >= least]
        return sorted(found, key=lambda one: -one["area"] * one["score"])[:limit]

    @abstractmethod
    def _candidates(self, encoded, limit: int) -> list[str]:
        """Phrases that may be in the image, the likeliest first, no two of one meaning."""

    @abstractmethod
    def encode_maps(self, maps: list[Tensor], divisions: list[int]) -> Any:
        """As `encode`, of kept maps of the encoder (1, C, h, w), fine to coarse."""

    @abstractmethod
    def info(self) -> dict:
        """What these weights are, as plain data."""

    def __call__(self, image, phrases=None, background: float | None = None, *, competitors: bool = True):
        """Encode and ask in one step."""
        return self.ask(self.encode(image), phrases, background, competitors=competitors)

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return self.model.device

    @property
    def long_side(self) -> int:
        """Longer side, in pixels, at which the weights see an image."""
        return self.model.config.image_size

    @property
    def background(self) -> float:
        """The weights' own threshold, 0..1: a score below is nothing that was asked for."""
        return self.model.config.background

    def _threshold(self, background: float | None) -> float:
        return check_background(self.background if background is None else background)

    def _read(self, image, long_side: int | None) -> tuple[np.ndarray, int]:
        """The image's pixels (H, W, 3), and the longer side at which it is looked at."""
        if long_side is not None:
            long_side = whole(long_side, "The long side", *LONG_SIDES)
        return images.read(image), long_side or self.long_side

    def _views(self, rgb: np.ndarray, long_side: int) -> Iterator[Tensor]:
        """The image at each scale that the weights want, uint8 (B, 3, h, w): as it is and, where wanted, mirrored."""
        config, (height, width) = self.model.config, rgb.shape[:2]
        sizes = [inference.target_size(height, width, round(scale * long_side)) for scale in config.scales]
        check_seen(sizes * (1 + config.mirrored), long_side)
        for size in sizes:
            pixels = inference.resize(rgb, size, self.device)
            yield torch.cat([pixels, pixels.flip(3)]) if config.mirrored else pixels
