"""An answer about a picture, S-Seg's or S-Seg+'s: labels, scores, areas, and the ways to take it along."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from sseg import export, images, inference
from sseg.arguments import check_background, whole
from sseg.errors import SSegError, SSegValueError

MAX_SCORES = 1 << 31  # bytes of `Segmentation.scores`


@dataclass(frozen=True)
class Segmentation:
    """An answer: which phrase is where. Full-size maps are made when first asked for."""

    phrases: list[str]  # as typed
    winners: list[str]  # the synonym that counted most, for each phrase
    known: list[bool]  # whether the weights have seen a word of it
    size: tuple[int, int]  # (H, W)
    background: float
    weights: str
    coarse_scores: Tensor = field(repr=False)  # (P, h, w), at the masks' resolution
    words_at: Callable[[int, int, int], list[dict]] = field(repr=False)  # (x, y, n) -> best known texts there

    @cached_property
    def _top(self) -> tuple[np.ndarray, np.ndarray]:
        with torch.inference_mode():
            best, confidence = inference.top_class(self.coarse_scores, self.size)
        return best.cpu().numpy(), confidence.cpu().numpy()

    def at(self, background: float) -> "Segmentation":
        """The same answer with another threshold, 0..1; nothing is asked anew. SSegError outside of that."""
        other = replace(self, background=check_background(background))
        other.__dict__["_top"] = self._top  # the full-size maps, which the threshold does not change
        return other

    @property
    def best(self) -> np.ndarray:
        """(H, W) int32: the best phrase of each pixel, without background."""
        return self._top[0]

    @property
    def confidence(self) -> np.ndarray:
        """(H, W) float32 in 0..1: the score of the best phrase."""
        return self._top[1]

    @cached_property
    def labels(self) -> np.ndarray:
        """(H, W) int32: index into `phrases`, -1 = background (best score below `background`)."""
        if self.background == 0:
            return self.best
        return np.where(self.confidence < self.background, np.int32(-1), self.best)

    @property
    def scores(self) -> np.ndarray:
        """(P, H, W) float32 in 0..1; made anew at each call. SSegError over 2 GB: use `score_map` then."""
        if 4 * len(self.phrases) * self.size[0] * self.size[1] > MAX_SCORES:
            raise SSegError("All scores of this picture would take over 2 GB: take them one by one with score_map(i).")
        return inference.upsample(self.coarse_scores, self.size).cpu().numpy()

    def score_map(self, index: int) -> np.ndarray:
        """(H, W) float32 in 0..1: the scores of one phrase. SSegError for an index that no phrase has."""
        index = whole(index, "The index of a phrase", 0, len(self.phrases) - 1)
        return inference.upsample(self.coarse_scores[index : index + 1], self.size)[0].cpu().numpy()

    @cached_property
    def _counts(self) -> np.ndarray:
        return np.bincount(self.labels.ravel() + 1, minlength=len(self.phrases) + 1)[1:]

    @cached_property
    def areas(self) -> list[float]:
        """Share of the picture, 0..1, for each phrase."""
        return (self._counts / self.labels.size).tolist()

    @cached_property
    def mean_scores(self) -> list[float]:
        """Mean confidence where the phrase was found, 0 where it was not."""
        sums = np.bincount(self.labels.ravel() + 1, self.confidence.ravel(), minlength=len(self.phrases) + 1)[1:]
        return (sums / np.maximum(self._counts, 1)).tolist()

    def explain(self, x: int, y: int, n: int = 5) -> dict:
        """Pixel (x, y): {"best": the `n` best asked phrases, "margin" between the first two, "words": the `n` best of
        all that the weights know}; entries are {"phrase", "score"}. SSegError for a pixel outside of `labels`, or `n`
        below 1."""
        height, width = self.size
        of = f"the picture has {width} x {height} pixels"
        x, y = whole(x, "The pixel's x", 0, width - 1, of), whole(y, "The pixel's y", 0, height - 1, of)
        n = whole(n, "The number of words", 1, 1_000_000)
        scores = inference.at_pixel(self.coarse_scores, x, y, self.size).tolist()
        order = sorted(range(len(scores)), key=lambda i: -scores[i])
        best = [{"phrase": self.phrases[i], "score": scores[i]} for i in order[:n]]
        margin = scores[order[0]] - (scores[order[1]] if len(order) > 1 else 0.0)
        return {"x": x, "y": y, "best": best, "margin": margin, "words": self.words_at(x, y, n)}

    def rle(self) -> list[dict]:
        """COCO run lengths of each phrase's mask: {"size": [H, W], "counts": str}."""
        return [images.rle(self.labels == i) for i in range(len(self.phrases))]

    def id_png(self, size: tuple[int, int] | None = None) -> bytes:
        """PNG of ids: 0 = background, i + 1 = phrase i, each shown in the phrase's colour. `size`: as in
        `export.palette_png`."""
        return export.palette_png(self.labels, self._colors, size)

    def overlay(self, image, opacity: float = 0.55) -> np.ndarray:
        """The picture with the phrases' colours over it: uint8 (H, W, 3); opacity 0..1."""
        return images.overlay(self._same(image), self.labels, self._colors, opacity)

    def overlay_with_legend(self, image, opacity: float = 0.55) -> np.ndarray:
        """The overlay with names on the regions and a legend, for a report: uint8 (h, w, 3), see
        `export.overlay_with_legend`."""
        return export.overlay_with_legend(
            self._same(image), self.labels, self.phrases, self._colors, self.areas, opacity
        )

    def cut_out(self, image, index: int, uncropped: bool = False) -> bytes:
        """PNG of what phrase `index` covers, transparent elsewhere and cropped, see `export.cut_out`. SSegError if the
        phrase was not found."""
        index = whole(index, "The index of a phrase", 0, len(self.phrases) - 1)
        return export.cut_out(self._same(image), self.labels == index, uncropped)

    def coco(self, file_name: str, size: tuple[int, int] | None = None, parts: bool = False) -> dict:
        """The answer as a COCO data set of one image, ready for `json.dumps`; arguments as in `export.coco_entry`."""
        entry = export.coco_entry(file_name, self.labels, self.confidence, size, parts)
        return export.coco_json(self.phrases, [entry], f"Labelled by S-Seg ({self.weights})")

    def yolo(self) -> str:
        """The lines of an Ultralytics label file, see `export.yolo_labels`; phrase i is class i."""
        return export.yolo_labels(self.labels)

    def zip(self, image, name: str = "image", size: tuple[int, int] | None = None, opacity: float = 0.55) -> bytes:
        """All of these in one ZIP file, see `export.answer_zip`."""
        return export.answer_zip(self, self._same(image), name, size, opacity)

    @property
    def _colors(self) -> np.ndarray:
        return images.colors_of(self.phrases)  # (P, 3)

    def _same(self, image) -> np.ndarray:
        """The pixels (H, W, 3) of the image that was segmented."""
        rgb = images.read(image)
        if rgb.shape[:2] != tuple(self.size):
            raise SSegValueError("The overlay needs the picture that was segmented: this one has another size.")
        return rgb

    def to_json(self) -> dict:
        """All of it but the pixels, ready for `json.dumps`."""
        columns = ("phrase", "winner", "known", "area", "mean_score", "rle")
        rows = zip(self.phrases, self.winners, self.known, self.areas, self.mean_scores, self.rle(), strict=True)
        return {
            "weights": self.weights,
            "size": list(self.size),
            "background": self.background,
            "background_area": float((self.labels < 0).mean()),
            "phrases": [{"id": i + 1, **dict(zip(columns, row, strict=True))} for i, row in enumerate(rows)],
        }
