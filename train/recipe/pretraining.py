"""Every key of a recipe of train.pretrain, with its type.

One dataclass a section. A key without a default has to be written down; None is what is not asked for;
docs/training.md says what each key does.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from train.data.stickers.scenes import Difficulty
from train.recipe.typed import Count, FieldsOf, Number, Positive, Precision, Share


@dataclass(kw_only=True)
class PseudoMasks:
    """What pseudo-masks are clusters of."""

    features: str
    facet: str | None = None
    stored: str | None = None  # a folder of train.pseudo_masks
    whole: bool = False
    resolution: Count = 448  # of whole images
    k: Count | None = None  # of whole images; None: that of the stages
    cell: Count = 4  # pixels a side of what is clustered in a crop, a multiple of the 4 of the masks


@dataclass(kw_only=True)
class Stickers:
    """Rendered scenes, new in every batch."""

    name: Literal["stickers"]
    share: Positive | None = None  # of a mixture's batch


@dataclass(kw_only=True)
class Tars:
    """Image-text tars."""

    name: Literal["tars"]
    root: str
    cache_size: Count = 160
    only: str = "*"
    share: Positive | None = None
    pseudo_masks: PseudoMasks | None = None  # a mixture's part may have its own
    held_out: str | None = None


@dataclass(kw_only=True)
class TarShare:
    """Tars that make up a share of a batch."""

    only: str
    share: Positive


@dataclass(kw_only=True)
class Maps:
    """Kept maps of a frozen encoder, of the images of tars."""

    name: Literal["maps"]
    root: str
    folder: str
    size: Count
    clusters: Count
    views: Count = 1
    only: str = "*"
    shares: list[TarShare] | None = None
    held_out: str | None = None


@dataclass(kw_only=True)
class Mixture:
    """Several sources in every batch."""

    name: Literal["mixture"]
    parts: list[Stickers | Tars]


@dataclass(kw_only=True)
class Encoder:
    """The past of an image encoder."""

    start: str
    learn: Share = 1.0  # of the learning rate; 0: frozen


@dataclass(kw_only=True)
class Tokenizer:
    """`vocab_size` of one that is learned from the captions, or the `name` of a ready one, or a folder of `words`."""

    max_length: Count
    vocab_size: Count | None = None
    name: str | None = None
    words: str | None = None


@dataclass(kw_only=True)
class Stage:
    """A part of the curriculum. `size` in pixels, `batch` of all processes, `k` clusters."""

    steps: Count
    batch: Count
    size: Count | None = None  # kept maps have theirs
    k: Count | None = None  # where shape is learned
    difficulty: Difficulty | None = None  # of stickers
    learns: list[Literal["shape", "meaning"]] | None = None  # None: both, under one schedule of all stages


@dataclass(kw_only=True)
class Loss:
    """Weights of the terms, and how regions meet texts."""

    dice: Positive
    focal: Positive
    contrastive: Positive
    phrases: Positive
    phrases_each: Count = 2
    distractors: Number = 0  # known phrases that compete beside those of the batch
    wider: bool = False
    tags: Positive = 0.0
    ground: Positive = 0.0
    assignment: Positive = 0.0
    pooling: Literal["softmax", "mean", "feature_mean"] = "softmax"
    sharpness: Positive = 10.0
    queries: Literal["all", "matched"] = "all"


@dataclass(kw_only=True)
class Optimizer:
    """AdamW; `warmup` in steps, `cooldown` the last share of the run, `average` the memory of the running average."""

    lr: Positive
    final_lr: Positive
    warmup: Number
    cooldown: Share
    weight_decay: Positive
    betas: tuple[Share, Share]
    clip: Positive
    average: Share


@dataclass(kw_only=True)
class Pretrain:
    """A recipe of train.pretrain."""

    seed: Number
    out: str
    device: str = "auto"
    init: str | None
    init_only: list[str] | None = None
    precision: Precision
    log_every: Count
    checkpoint_minutes: Positive
    encoder: Encoder | None = None
    data: Stickers | Tars | Maps | Mixture
    model: Annotated[dict, FieldsOf("sseg.models.config:SSegConfig")]
    tokenizer: Tokenizer
    stages: list[Stage]
    pseudo_masks: PseudoMasks
    loss: Loss
    optimizer: Optimizer
