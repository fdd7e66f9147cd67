"""Two label maps of one picture, and a truth if there is one: where they agree, what changed, which is right."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt

from sseg import images, phrases
from sseg.arguments import of_type
from sseg.errors import SSegValueError
from sseg.metrics import StreamingIoU
from sseg.segmentation import Segmentation
from sseg.truth import read_ids_at

TOLERANCE = 0.0075  # of the diagonal: how far outlines may lie apart (Csurka et al. 2013)
BACKGROUND, IGNORED = -1, -2
NO_TRUTH = 255  # id in a truth file of pixels that do not count
SMALLEST_FLIP = 0.001  # share of the picture below which a change of category is not worth a line


@dataclass(frozen=True)
class Comparison:
    """Answers A and B over one list of categories. Shares are 0..1, of the picture unless said otherwise."""

    categories: list[str]
    a: np.ndarray  # (H, W) int32: index into categories, -1 = background
    b: np.ndarray  # the same
    truth: np.ndarray | None = None  # the same, and -2 where it does not count

    @cached_property
    def disagreement(self) -> np.ndarray:
        """(H, W) bool: where A and B differ."""
        return self.a != self.b

    @property
    def agreement(self) -> float:
        """Share of pixels with the same label."""
        return float(1 - self.disagreement.mean())

    @cached_property
    def areas(self) -> list[tuple[float, float]]:
        """Share of the picture in A and in B, of each category and, last, of the background."""
        sides = [np.bincount(side.ravel() + 1, minlength=len(self.categories) + 1) / side.size for side in self._sides]
        return [(float(before), float(after)) for before, after in zip(*(np.roll(s, -1) for s in sides), strict=True)]

    @property
    def _sides(self) -> tuple[np.ndarray, np.ndarray]:
        return self.a, self.b

    @cached_property
    def flips(self) -> list[dict]:
        """What became what, the largest first: {"from", "to", "share_of_from", "area"}; names, None = background."""
        count = len(self.categories) + 1
        pairs = np.bincount((self.a.ravel() + 1) * count + self.b.ravel() + 1, minlength=count * count)
        table = pairs.reshape(count, count)
        before, names = table.sum(1), [None, *self.categories]
        np.fill_diagonal(table, 0)
        order = [divmod(int(place), count) for place in np.argsort(-table, axis=None, kind="stable")]
        large = [(i, j) for i, j in order if table[i, j] >= max(1, SMALLEST_FLIP * self.a.size)]
        return [
            {
                "from": names[i],
                "to": names[j],
                "share_of_from": float(table[i, j] / before[i]),
                "area": float(table[i, j] / self.a.size),
            }
            for i, j in large
        ]

    @cached_property
    def boundary_agreement(self) -> float:
        """F measure of the outlines: the share of each side's outline that lies near the other's, harmonic mean.

        Csurka et al. 2013, "What is a good evaluation measure for semantic segmentation?", all categories at once; near
        is within 0.75 % of the diagonal. 1 where neither side has an outline.
        """
        first, second = (images.outlines(side) for side in self._sides)
        if not first.any() or not second.any():
            return float(first.any() == second.any())
        near = max(1.0, TOLERANCE * float(np.hypot(*self.a.shape)))
        precision = float((distance_transform_edt(~second)[first] <= near).mean())
        recall = float((distance_transform_edt(~first)[second] <= near).mean())
        return 2 * precision * recall / (precision + recall) if precision + recall else 0.0

    def miou(self) -> dict | None:
        """mIoU of both sides in 0..1 and of each category that occurs; None without a truth.

        {"a", "b", "classes": [{"name", "a", "b"}]}; the background is a class, its name None.
        """
        if self.truth is None:
            return None
        metrics = [StreamingIoU(len(self.categories) + 1) for _ in range(2)]
        for metric, side in zip(metrics, self._sides, strict=True):
            metric.update(side + 1, self.truth + 1, ignore=IGNORED + 1)
        ious, names = [metric.iou() for metric in metrics], [None, *self.categories]
        rows = [
            {"name": name, "a": _number(x), "b": _number(y)}
            for name, x, y in zip(names, *ious, strict=True)
            if not np.isnan(x) or not np.isnan(y)
        ]
        return {"a": _number(metrics[0].miou()), "b": _number(metrics[1].miou()), "classes": rows}

    @cached_property
    def corrections(self) -> np.ndarray | None:
        """(H, W) int8: 1 where B mended what A had wrong, -1 where B broke what A had right; None without a truth."""
        if self.truth is None:
            return None
        right_a, right_b = self.a == self.truth, self.b == self.truth
        counted = self.truth != IGNORED
        return ((right_b & ~right_a) & counted).astype(np.int8) - ((right_a & ~right_b) & counted).astype(np.int8)

    def to_json(self) -> dict:
        """All figures; those with a truth are null without one. `mended`, `broken`: of the pixels that count."""
        names = [*self.categories, None]
        counted = 0 if self.truth is None else int((self.truth != IGNORED).sum())
        mended, broken = (float(np.sum(self.corrections == sign) / counted) if counted else None for sign in (1, -1))
        return {
            "size": list(self.a.shape),
            "agreement": self.agreement,
            "disagreement": float(self.disagreement.mean()),
            "boundary_agreement": self.boundary_agreement,
            "areas": [
                {"name": name, "a": before, "b": after, "change": after - before}
                for name, (before, after) in zip(names, self.areas, strict=True)
                if before or after
            ],
            "flips": self.flips,
            "miou": self.miou(),
            "mended": mended,
            "broken": broken,
        }


def summary(found: list[Comparison]) -> dict:
    """All pictures together: agreement and outlines as means over pictures, mIoU, mended and broken over all pixels.

    The pictures share one list of categories. {"pictures", "agreement", "boundary_agreement", "miou", "mended",
    "broken"}.
    """
    judged = [one for one in found if one.truth is not None]
    total: dict[str, Any] = {"pictures": len(found), "miou": None, "mended": None, "broken": None}
    for key in ("agreement", "boundary_agreement"):
        total[key] = float(np.mean([getattr(one, key) for one in found]))
    if judged:
        a, b, truth, signs = (
            np.concatenate([getattr(one, key).ravel() for one in judged]) for key in ("a", "b", "truth", "corrections")
        )
        total["miou"] = Comparison(judged[0].categories, a, b, truth).miou()
        counted = max(1, int((truth != IGNORED).sum()))
        total |= {"mended": float((signs == 1).sum() / counted), "broken": float((signs == -1).sum() / counted)}
    return total


def _number(value) -> float | None:
    return None if np.isnan(value) else float(value)


def answer(segmenter, encoded, categories, background: float = 0.0):
    """A side's `Segmentation`; the categories alone compete, in S-Seg as they do in S-Seg+."""
    return segmenter.ask(encoded, categories, background, competitors=segmenter.categories is not None)


def compare(a, b, truth=None, full_size=None) -> Comparison:
    """Compare two `Segmentation`s of one picture; their categories are put into one list, by their text.

    Args:
        a: the answer on one side.
        b: the answer on the other.
        truth: file or bytes of a mask of ids, as `Segmentation.id_png` writes them: 0 = background, i + 1 = category i
            of the joint list (A's, then what B adds), 255 = not counted.
        full_size: (H, W) of the picture before it was scaled down, which the mask may have, too.

    Raises:
        SSegError: pictures or a truth of another size, or ids that no category has.
    """
    for one in (a, b):
        of_type(one, Segmentation, "Answers of segmenters are compared")
    if tuple(a.size) != tuple(b.size):
        raise SSegValueError("Only answers about one picture can be compared: these pictures differ in size.")
    categories = list(a.phrases)
    places = {phrases.key(text): place for place, text in enumerate(categories)}
    for text in b.phrases:
        if phrases.key(text) not in places:
            places[phrases.key(text)] = len(categories)
            categories.append(text)
    table = np.array([*(places[phrases.key(text)] for text in b.phrases), BACKGROUND], np.int32)  # -1 takes the last
    return Comparison(categories, a.labels, table[b.labels], _truth(truth, a.size, full_size, categories))


def _truth(source, size, full_size, categories) -> np.ndarray | None:
    if source is None:
        return None
    ids = read_ids_at(source, size, full_size, "The true mask")
    known = ids[ids != NO_TRUTH]
    if known.size and known.max() > len(categories):
        raise SSegValueError(
            f"The true mask holds the id {known.max()}, but there are {len(categories)} categories: 0 is "
            "background, 1 the first category, 255 not counted."
        )
    return np.where(ids == NO_TRUTH, IGNORED, ids - 1).astype(np.int32)
