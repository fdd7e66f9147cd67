"""S-Seg+: UperNet on a plain ViT, trained on S-Seg's own labels for a fixed list of categories (paper.md, section 8).

Four levels from blocks at 1/4, 1/2, 3/4 and full depth, brought to strides 4, 8, 16, 32 as in MAE's segmentation (He et
al. 2022; implus/mae_segmentation): for patches of 16 pixels that is 4, 2, 1 and 1/2 of the grid. An encoder that has
those strides by itself (the teacher's own, at the small size) may stand in the ViT's place, as in UperNet's own paper.
Behind the frozen encoder of photographs stands a lighter head (`sseg.models.context_head`).
"""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoBackbone, AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.models.upernet.modeling_upernet import UperNetHead

from sseg.arguments import BACKGROUND, check_background
from sseg.models.context_head import ContextHead
from sseg.models.small_vit import MEAN, PATCH, STD, SmallViT

STRIDES = (4, 8, 16, 32)
POOL_SCALES = (1, 2, 3, 6)
HEADS = ("upernet", "context")


class SelfTrainedConfig(PreTrainedConfig):
    """Sizes and categories of a `SelfTrainedModel`.

    Args:
        categories: a phrase each, synonyms joined by `|`, in the order of the logits.
        backbone: {"name": "small-vit", ...arguments of SmallViT}; or {"name": a ViT of timm, ...}; or an encoder with
            feature maps as in `SSegConfig.backbone`, {"model_type": "resnet", ...}: four at strides 4, 8, 16, 32 for
            UperNet, any for the context head. Only its shape: the weights come with the checkpoint.
        head: "upernet" or "context" (`sseg.models.context_head`); head_width: its channels.
        outlines: whether scores, in use, follow the picture's colours at four times their resolution
            (`sseg.pseudo_masks.edges.soft_follow`).
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
    backbone: Any
    head: nn.Module

    def __init__(self, config: SelfTrainedConfig):
        super().__init__(config)
        self.backbone, widths, strides = make_backbone(dict(config.backbone or {}))
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

    plain: Any = timm.create_model(name, pretrained=False, num_classes=0, dynamic_img_size=True, **sizes)
    return plain, [plain.embed_dim] * 4, [plain.patch_embed.patch_size[0]] * 4


def rescale(width: int, grow: int, shrink: int) -> nn.Module:
    """(B, width, h, w) -> `grow` times (1, 2, 4) as fine by transposed convolutions, or pooled to 1 / `shrink`."""
    if grow > 2:
        finer = nn.ConvTranspose2d(width, width, 2, 2)
        return nn.Sequential(finer, nn.BatchNorm2d(width), nn.GELU(), nn.ConvTranspose2d(width, width, 2, 2))
    if grow == 2:
        return nn.ConvTranspose2d(width, width, 2, 2)
    return nn.MaxPool2d(shrink) if shrink > 1 else nn.Identity()
