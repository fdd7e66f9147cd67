"""S-Seg+ answers for a fixed list of categories: encode(image) -> ask(categories) -> Segmentation."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sseg import images, inference
from sseg.arguments import check_background, of_type, whole
from sseg.cost import check_seen
from sseg.errors import SSegValueError
from sseg.models.student import SelfTrainedModel
from sseg.phrases import PhraseClass, key, parse
from sseg.pseudo_masks.edges import colours, soft_follow
from sseg.segmentation import Segmentation

NAMING = ("name", "backbone", "model_type")  # what a backbone is called by: the first of these that it has


@dataclass(frozen=True)
class EncodedCategories:
    """A picture after the model: all that questions need."""

    probabilities: Tensor  # (C, h, w), they sum to 1
    size: tuple[int, int]  # (H, W) of the picture

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return self.probabilities.nbytes


class SelfTrainedSegmenter:
    """Encodes and answers as `sseg.Segmenter`, for its own categories alone."""

    def __init__(self, model: SelfTrainedModel, name: str = ""):
        self.model, self.name = model.eval(), name
        self.categories = list(model.config.categories)
        self._classes = [_class_of(text) for text in self.categories]

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return self.model.device

    @property
    def long_side(self) -> int:
        """Longer side, in pixels, at which the weights see a picture."""
        return self.model.config.image_size

    @property
    def background(self) -> float:
        """The weights' own threshold, 0..1: a score below is nothing that was asked for."""
        return self.model.config.background

    def __call__(self, image, phrases=None, background: float | None = None) -> Segmentation:
        """Encode and ask in one step."""
        return self.ask(self.encode(image), phrases, background)

    @torch.inference_mode()
    def encode(self, image, *, sliding: bool = False, long_side: int | None = None) -> EncodedCategories:
        """Run the picture through the model, once for all questions.

        Args:
            image: what `images.read` takes.
            sliding: S-Seg alone looks through windows; True is refused.
            long_side: longer side for the model instead of the weights' own, 64 to 4096.
        """
        if sliding:
            raise SSegValueError(
                "S-Seg+ does not look through sliding windows: leave that out, or take S-Seg's weights."
            )
        if long_side is not None:
            long_side = whole(long_side, "The long side", 64, 4096)
        rgb, config, side = images.read(image), self.model.config, long_side or self.long_side
        sizes = [inference.target_size(*rgb.shape[:2], round(scale * side)) for scale in config.scales]
        check_seen(sizes * (1 + config.mirrored), side)
        views = []
        for size in sizes:
            picture = inference.resize(rgb, size, self.device)
            pixels = inference.normalise(picture, config.pixel_mean, config.pixel_std)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
                logits = self.model(torch.cat([pixels, pixels.flip(3)]) if config.mirrored else pixels)
            seen = logits.float().softmax(1)  # (1 or 2, C, h, w)
            mean = (seen[0] + seen[1].flip(2)) / 2 if config.mirrored else seen[0]
            views.append(soft_follow(mean, colours(picture[0], mean.shape[1:])) if config.outlines else mean)
        grid = views[0].shape[1:]
        mean = torch.stack([inference.upsample(one, grid) for one in views]).mean(0)
        return EncodedCategories(present(mean, config.peak), rgb.shape[:2])

    @torch.inference_mode()
    def ask(self, encoded: EncodedCategories, phrases=None, background: float | None = None) -> Segmentation:
        """Where is what? All categories compete; those that are not asked for leave background.

        Args:
            encoded: from `encode`.
            phrases: categories, or one of their synonyms each; None: all.
            background: a pixel whose best score is below becomes background, 0..1; None: the weights' own.
        Raises:
            SSegError: something that is no category, or a threshold outside 0..1.
        """
        of_type(encoded, EncodedCategories, "What is asked about is what encode(picture) gave")
        if len(encoded.probabilities) != len(self.categories):
            raise SSegValueError("The picture was encoded by other weights: encode it with these.")
        background = check_background(self.background if background is None else background)
        asked = self._classes if phrases is None else parse(phrases)
        places = [self.place(one) for one in asked]
        return Segmentation(
            phrases=[one.text for one in asked],
            winners=[self._classes[place].synonyms[0] for place in places],
            known=[True] * len(asked),
            size=encoded.size,
            background=background,
            weights=self.name,
            coarse_scores=encoded.probabilities[places],
            words_at=lambda x, y, n: self._best_at(encoded, x, y, n),
        )

    def place(self, asked: PhraseClass) -> int:
        """Which category is meant: the first that shares a synonym."""
        words = set(map(key, asked.synonyms))
        for place, own in enumerate(self._classes):
            if words & set(map(key, own.synonyms)):
                return place
        some = ", ".join(one.synonyms[0] for one in self._classes[:5])
        raise SSegValueError(f'"{asked.text}" is none of the {len(self.categories)} categories that these weights know '
                             f"({some} ...): ask for those, or take S-Seg for free text.")

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
