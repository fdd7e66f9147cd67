"""S-Seg+: UperNet on a plain ViT, trained on S-Seg's own labels for a fixed list of categories (paper.md, section 8).

Four levels from blocks at 1/4, 1/2, 3/4 and full depth, brought to strides 4, 8, 16, 32 as in MAE's segmentation (He et
al. 2022; implus/mae_segmentation): for patches of 16 pixels that is 4, 2, 1 and 1/2 of the grid. An encoder that has
those strides by itself (the teacher's own, at the small size) may stand in the ViT's place, as in UperNet's own paper.
Behind the frozen encoder of photographs stands a lighter head (`sseg.context_head`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from transformers import AutoBackbone, AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.models.upernet.modeling_upernet import UperNetHead

from sseg import images, inference
from sseg.arguments import of_type, whole
from sseg.context_head import ContextHead
from sseg.cost import check_seen
from sseg.errors import SSegError
from sseg.features.network import MEAN, PATCH, STD, SmallViT
from sseg.outlines import colours, soft_follow
from sseg.phrases import PhraseClass, key, parse
from sseg.segmentation import Segmentation
from sseg.threshold import BACKGROUND, check_background

STRIDES = (4, 8, 16, 32)
POOL_SCALES = (1, 2, 3, 6)
HEADS = ("upernet", "context")
NAMING = ("name", "backbone", "model_type")  # what a backbone is called by: the first of these that it has


class SelfTrainedConfig(PreTrainedConfig):
    """Sizes and categories of a `SelfTrainedModel`.

    Args:
        categories: a phrase each, synonyms joined by `|`, in the order of the logits.
        backbone: {"name": "small-vit", ...arguments of SmallViT}; or {"name": a ViT of timm, ...}; or an encoder with
            feature maps as in `SSegConfig.backbone`, {"model_type": "resnet", ...}: four at strides 4, 8, 16, 32 for
            UperNet, any for the context head. Only its shape: the weights come with the checkpoint.
        head: "upernet" or "context" (`sseg.context_head`); head_width: its channels.
        outlines: whether scores, in use, follow the picture's colours at four times their resolution
            (`sseg.outlines.soft_follow`).
        image_size: longer side in pixels at which the weights see a picture.
        scales, mirrored: more views in use, as in `SSegConfig`.
        peak: a category counts, in use, only where its highest score in the picture is at least this share of the
            highest of all: what is nowhere likely is not there. 0: all count.
        teacher: the weights whose labels these learned, as they were named.
        background: as in `SSegConfig`.
    """

    model_type = "sseg-plus"

    categories: list | tuple = ()
    backbone: dict | None = None
    head: str = "upernet"
    head_width: int = 64
    outlines: bool = False
    peak: float = 0.0
    image_size: int = 160
    scales: list | tuple = (1.0,)
    mirrored: bool = False
    pixel_mean: list | tuple = MEAN
    pixel_std: list | tuple = STD
    teacher: str = ""
    background: float = BACKGROUND

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        check_background(self.background)
        if self.backbone is None:
            self.backbone = {"name": "small-vit"}
        if self.head not in HEADS:
            raise ValueError(f"head is one of {', '.join(HEADS)}, not {self.head!r}.")


class SelfTrainedModel(PreTrainedModel):
    """Pictures -> logits of the categories."""

    config_class = SelfTrainedConfig
    base_model_prefix = "plus"
    main_input_name = "pixel_values"

    def __init__(self, config: SelfTrainedConfig):
        super().__init__(config)
        self.backbone, widths, strides = make_backbone(dict(config.backbone))
        if config.head == "context":
            self.head = ContextHead(widths, config.head_width, len(config.categories))
        else:
            steps = zip(widths, strides, STRIDES, strict=True)
            self.levels = nn.ModuleList(rescale(width, has // needs, needs // has) for width, has, needs in steps)
            sizes = {"pool_scales": POOL_SCALES, "hidden_size": config.head_width, "num_labels": len(config.categories)}
            self.head = UperNetHead(SimpleNamespace(**sizes), widths)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module):
        """Backbone and head keep the start of their own libraries."""

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Normalised pictures (B, 3, H, W), sides multiples of 32 -> logits (B, C, h, w): of UperNet at stride 4, of
        the context head at that of the backbone's finest map."""
        return self.from_maps(self.planes(pixel_values))

    def from_maps(self, maps: Sequence[Tensor]) -> Tensor:
        """The backbone's maps (B, C, h, w), fine to coarse -> logits; those of a frozen backbone can be kept."""
        if self.config.head == "context":
            return self.head(maps)
        return self.head([level(plane) for level, plane in zip(self.levels, maps, strict=True)])

    def planes(self, pixel_values: Tensor) -> list[Tensor]:
        """Feature maps of the backbone, as coarse as it makes them."""
        if "model_type" in self.config.backbone:
            return self.backbone(pixel_values).feature_maps
        depth = len(self.backbone.blocks)
        taps = [depth * (i + 1) // 4 - 1 for i in range(4)]
        return self.backbone.forward_intermediates(pixel_values, indices=taps, intermediates_only=True)

    def save_pretrained(self, *args, **kwargs):
        """As transformers does it, with tensors under the names that this class has."""
        super().save_pretrained(*args, **{"save_original_format": False} | kwargs)


def make_backbone(sizes: dict) -> tuple[nn.Module, list[int], list[int]]:
    """An encoder of these sizes with random weights, and the channels and strides of its feature maps."""
    if sizes.get("model_type") == "timm_backbone":
        encoder = AutoBackbone.from_config(AutoConfig.for_model(**sizes))
        return encoder, list(encoder.channels), list(encoder._backbone.feature_info.reduction())
    if "model_type" in sizes:
        sizes.setdefault("out_features", ["stage1", "stage2", "stage3", "stage4"])
        encoder = AutoBackbone.from_config(AutoConfig.for_model(**sizes))
        return encoder, list(encoder.channels), list(STRIDES)
    name = sizes.pop("name")
    if name == "small-vit":
        vit = SmallViT(**sizes)
        return vit, [vit.config["width"]] * 4, [PATCH] * 4
    import timm

    vit = timm.create_model(name, pretrained=False, num_classes=0, dynamic_img_size=True, **sizes)
    return vit, [vit.embed_dim] * 4, [vit.patch_embed.patch_size[0]] * 4


def rescale(width: int, grow: int, shrink: int) -> nn.Module:
    """(B, width, h, w) -> `grow` times (1, 2, 4) as fine by transposed convolutions, or pooled to 1 / `shrink`."""
    if grow > 2:
        finer = nn.ConvTranspose2d(width, width, 2, 2)
        return nn.Sequential(finer, nn.BatchNorm2d(width), nn.GELU(), nn.ConvTranspose2d(width, width, 2, 2))
    if grow == 2:
        return nn.ConvTranspose2d(width, width, 2, 2)
    return nn.MaxPool2d(shrink) if shrink > 1 else nn.Identity()


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
            raise SSegError("S-Seg+ does not look through sliding windows: leave that out, or take S-Seg's weights.")
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
            raise SSegError("The picture was encoded by other weights: encode it with these.")
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
        raise SSegError(f'"{asked.text}" is none of the {len(self.categories)} categories that these weights know '
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
