"""S-Seg+ answers for a fixed list of categories: encode(image) -> ask(categories) -> Segmentation."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sseg import inference
from sseg.arguments import of_type
from sseg.errors import SSegValueError
from sseg.models.student import SelfTrainedModel
from sseg.phrases import PhraseClass, key, parse
from sseg.pseudo_masks.edges import colours, soft_follow
from sseg.segmentation import Segmentation
from sseg.segmenter import Segmenter

NAMING = ("name", "backbone", "model_type")  # what a backbone is called by: the first of these that it has


@dataclass(frozen=True)
class EncodedCategories:
    """An image after the model: all that questions need."""

    probabilities: Tensor  # (C, h, w), they sum to 1
    size: tuple[int, int]  # (H, W) of the image

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return self.probabilities.nbytes


class FixedVocabularySegmenter(Segmenter):
    """Encodes and answers as every `Segmenter`, for its own categories alone."""

    categories: list[str]

    def __init__(self, model: SelfTrainedModel, name: str = ""):
        super().__init__(model, name)
        self.categories = list(model.config.categories)
        self._classes = [_class_of(text) for text in self.categories]

    @torch.inference_mode()
    def encode(self, image, *, sliding: bool = False, long_side: int | None = None) -> EncodedCategories:
        """Run the image through the model, once for all questions.

        Args:
            image: what `images.read` takes.
            sliding: S-Seg alone looks through windows; True is refused.
            long_side: longer side for the model instead of the weights' own, 64 to 4096.
        """
        if sliding:
            raise SSegValueError(
                "S-Seg+ does not look through sliding windows: leave that out, or take S-Seg's weights."
            )
        rgb, side = self._read(image, long_side)
        config, views = self.model.config, []
        for pixels in self._views(rgb, side):
            pixel_values = inference.normalise(pixels, config.pixel_mean, config.pixel_std)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
                logits = self.model(pixel_values)
            seen = inference.unmirrored(logits.float().softmax(1))  # one or two of (C, h, w)
            mean = torch.stack(seen).mean(0)
            views.append(soft_follow(mean, colours(pixels[0], mean.shape[1:])) if config.outlines else mean)
        grid = views[0].shape[1:]
        mean = torch.stack([inference.upsample(one, grid) for one in views]).mean(0)
        return EncodedCategories(present(mean, config.peak), (rgb.shape[0], rgb.shape[1]))

    @torch.inference_mode()
    def encode_maps(self, maps: list[Tensor], divisions: list[int]) -> EncodedCategories:
        """As `encode`, of an image's kept maps (1, C, h, w), fine to coarse; a student divides nothing into regions."""
        height, width = maps[-1].shape[2:]
        return EncodedCategories(self.model.from_maps(maps).float().softmax(1)[0], (height, width))

    @torch.inference_mode()
    def ask(
        self, encoded: EncodedCategories, phrases=None, background: float | None = None, *, competitors: bool = True
    ) -> Segmentation:
        """Where is what?

        Args:
            encoded: from `encode`.
            phrases: categories, or one of their synonyms each; None: all.
            background: a pixel whose best score is below becomes background, 0..1; None: the weights' own.
            competitors: all categories compete, and those that are not asked for leave background; False: those that
                are asked for share each pixel among themselves.

        Raises:
            SSegError: something that is no category, or a threshold outside 0..1.
        """
        of_type(encoded, EncodedCategories, "What is asked about is what encode(image) gave")
        if len(encoded.probabilities) != len(self.categories):
            raise SSegValueError("The picture was encoded by other weights: encode it with these.")
        background = self._threshold(background)
        asked = self._classes if phrases is None else parse(phrases)
        places = [self.place(one) for one in asked]
        scores = encoded.probabilities[places]
        if not competitors:
            scores = scores / scores.sum(0).clamp(min=1e-6)
        return Segmentation(
            phrases=[one.text for one in asked],
            winners=[self._classes[place].synonyms[0] for place in places],
            known=[True] * len(asked),
            size=encoded.size,
            background=background,
            weights=self.name,
            coarse_scores=scores,
            words_at=lambda x, y, n: self._best_at(encoded, x, y, n),
        )

    def _candidates(self, encoded: EncodedCategories, limit: int) -> list[str]:
        of_type(encoded, EncodedCategories, "What is asked about is what encode(image) gave")
        return self.categories

    def place(self, asked: PhraseClass) -> int:
        """Which category is meant: the first that shares a synonym."""
        words = set(map(key, asked.synonyms))
        for place, own in enumerate(self._classes):
            if words & set(map(key, own.synonyms)):
                return place
        some = ", ".join(one.synonyms[0] for one in self._classes[:5])
        raise SSegValueError(
            f'"{asked.text}" is none of the {len(self.categories)} categories that these weights know '
            f"({some} ...): ask for those, or take S-Seg for free text."
        )

    def _best_at(self, encoded: EncodedCategories, x: int, y: int, n: int) -> list[dict]:
        values, order = inference.at_pixel(encoded.probabilities, x, y, encoded.size).sort(descending=True)
        pairs = zip(order[:n].tolist(), values[:n].tolist(), strict=True)
        return [{"phrase": self._classes[place].synonyms[0], "score": value} for place, value in pairs]

    def info(self) -> dict:
        """What these weights are, as plain data."""
        config = self.model.config
        return {
            "weights": self.name,
            "device": str(self.device),
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "backbone": next(config.backbone[key] for key in NAMING if key in config.backbone),
            "image_size": config.image_size,
            "teacher": config.teacher,
            "categories": self.categories,
        }


def present(probabilities: Tensor, peak: float) -> Tensor:
    """Probabilities (C, h, w) without the categories that are nowhere likely (`SelfTrainedConfig.peak`)."""
    if not peak:
        return probabilities
    highest = probabilities.amax((1, 2), keepdim=True)
    left = probabilities * (highest >= peak * highest.max())
    return left / left.sum(0).clamp(min=1e-6)


def _class_of(text: str) -> PhraseClass:
    return parse([text])[0]
