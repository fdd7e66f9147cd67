"""How a model answers a benchmark: label maps over its classes, with or without a background."""

import numpy as np
import torch
import yaml

from sseg import inference
from sseg.errors import SSegError
from sseg.metrics import StreamingIoU
from sseg.paths import ASSETS
from sseg.phrases import key, parse

THRESHOLDS = (0, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def tuned_names(benchmark: str, class_names: list[str]) -> list[str]:
    """The classes as people name them, synonyms joined by `|`; SSegError where nobody has written that list yet."""
    path = ASSETS / "vocabularies" / f"{benchmark.split('-')[0]}.yaml"
    if not path.is_file():
        raise SSegError(f"There are no tuned names for {benchmark}: leave --names out, or write {path.name}.")
    synonyms = yaml.safe_load(path.read_text(encoding="utf-8"))
    return ["|".join(synonyms.get(name, [name])) for name in class_names]


def check_distinct(names: list[str]) -> None:
    """SSegError for two classes of one name: an answer would have one place for both, and all behind would slip."""
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        if places.setdefault(key(name), place) != place:
            raise SSegError(
                f'Two classes are called "{name}", and an answer cannot tell them apart: judge this set '
                "with --phrases present, or rename one."
            )


def predictor(segmenter, names: list[str], long_side: int | None = None):
    """What makes label maps over these class names (synonyms joined by `|`) with any weights."""
    return (CategoryPredictor if segmenter.categories else Predictor)(segmenter, names, long_side)


class CategoryPredictor:
    """Pictures -> label maps by S-Seg+, whose categories the class names must be."""

    how = "the weights' categories"

    def __init__(self, segmenter, names: list[str], long_side: int | None = None):
        check_distinct(names)
        self.segmenter, self.names, self.long_side = segmenter, names, long_side

    def __call__(self, image, classes=None):
        """image (H, W, 3) uint8 -> (H, W) int32 indices; `classes`: the indices that may win, by default all."""
        chosen = np.arange(len(self.names)) if classes is None else np.asarray(classes)
        encoded = self.segmenter.encode(image, long_side=self.long_side)
        return chosen[self.segmenter.ask(encoded, [self.names[i] for i in chosen], background=0).best].astype(np.int32)


class Predictor:
    """Pictures -> label maps over a fixed list of class names, whose texts are embedded once."""

    @property
    def how(self) -> str:
        """How masks become labels, for the protocol."""
        return f"{self.segmenter.combine} masks"

    def __init__(self, segmenter, names: list[str], long_side: int | None = None):
        """names: a phrase a class, synonyms joined by `|`."""
        self.segmenter = segmenter
        synonyms = segmenter.vocabulary.with_kinds([parse([name])[0].synonyms for name in names])
        self.words = [text for one in synonyms for text in one]
        self.texts = segmenter.embed(self.words)  # (T, E)
        owners = [i for i, one in enumerate(synonyms) for _ in one]
        self.owners = torch.tensor(owners, device=self.texts.device)  # (T,) the class of each text
        self.long_side = long_side or segmenter.long_side

    @torch.inference_mode()
    def __call__(self, image, classes=None):
        """image (H, W, 3) uint8 -> (H, W) int32 indices; `classes`: the indices that may win, by default all.

        Scores are made on the model's grid and enlarged before the choice, as mmsegmentation does.
        """
        enc = self.segmenter.encode(image, long_side=self.long_side)
        count = int(self.owners.max()) + 1
        chosen = torch.arange(count) if classes is None else torch.as_tensor(classes).long()
        if not len(chosen):
            return np.full(image.shape[:2], -1, np.int32)
        place = torch.full((count,), -1, device=self.owners.device)
        place[chosen.to(place.device)] = torch.arange(len(chosen), device=place.device)
        place = place[self.owners]  # (T,) among the chosen
        allowed = (place >= 0).nonzero()[:, 0]
        words = [self.words[i] for i in allowed.tolist()]
        logits, _ = self.segmenter.logits(enc.mask_embeddings, words, self.texts[allowed], place[allowed])
        scores = inference.combine_scores(enc.mask_weights, logits.softmax(1))
        best, _ = inference.top_class(scores, image.shape[:2])
        return chosen[best.cpu().long()].numpy().astype(np.int32)


class ThresholdSweep:
    """Scores of the same answers under many background thresholds: the best on one half, reported on the other.

    Pictures of even number choose; those of odd number are reported, so that nothing is tuned on what it is reported
    on. `metrics[half][t]` sums intersections and unions with threshold t.
    """

    def __init__(self, classes: int, thresholds=THRESHOLDS):
        self.thresholds = thresholds
        self.metrics = [[StreamingIoU(classes) for _ in thresholds] for _ in range(2)]

    def update(self, number: int, best, confidence, truth, ignore: int, background: int) -> None:
        """best (H, W) class indices, confidence (H, W) of each, truth (H, W) of picture `number`."""
        for threshold, metric in zip(self.thresholds, self.metrics[number % 2], strict=True):
            metric.update(np.where(confidence < threshold, background, best), truth, ignore)

    def chosen(self, classes=None) -> tuple[float, StreamingIoU]:
        """The threshold with the best mIoU (of those classes) on the even half, and the figures of the odd half."""
        scores = [metric.miou(classes) for metric in self.metrics[0]]
        best = int(np.nanargmax(scores)) if not np.isnan(scores).all() else 0
        return self.thresholds[best], self.metrics[1][best]
