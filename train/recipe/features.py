"""Every key of the recipes that features of our own are made by: train.distill, cluster_distill, textons.

One dataclass a section. A key without a default has to be written down; None is what is not asked for;
docs/training.md says what each key does.
"""

from dataclasses import dataclass

from train.data.stickers.scenes import Difficulty
from train.recipe.typed import Count, Number, Positive, Precision, Share


@dataclass(kw_only=True)
class SmallVit:
    """Sizes of the small ViT."""

    width: Count
    depth: Count
    heads: Count
    ratio: Positive
    stem: list[Count]
    out: Count


@dataclass(kw_only=True)
class Windows:
    """How many views of an image, their side in pixels, and the share of the image that each shows."""

    count: Number
    size: Count
    area: tuple[Share, Share]


@dataclass(kw_only=True)
class DistillStage:
    """A part of the curriculum of views."""

    steps: Count
    batch: Count
    large: Windows
    small: Windows
    pieces: Number
    difficulty: Difficulty


@dataclass(kw_only=True)
class DistillImages:
    """Side of a held image, a folder of tars, and the share of scenes in a batch."""

    size: Count
    photographs: str | None
    stickers: Share


@dataclass(kw_only=True)
class DistillLoss:
    """Weights and temperatures of self-distillation."""

    whole: Positive
    near: Positive
    near_width: Positive
    near_temperature: Positive
    group: Count
    teacher_temperature: Positive
    student_temperature: Positive
    sinkhorn: Count


@dataclass(kw_only=True)
class DistillOptimizer:
    """AdamW; `teacher_momentum`: the memory of the running average, which is the teacher."""

    lr: Positive
    final_lr: Positive
    warmup: Number
    cooldown: Share
    weight_decay: Positive
    clip: Positive
    teacher_momentum: Share


@dataclass(kw_only=True)
class Distill:
    """A recipe of train.distill."""

    seed: Number
    out: str
    device: str = "auto"
    precision: Precision
    log_every: Count
    checkpoint_minutes: Positive
    data: DistillImages
    model: SmallVit
    prototypes: Count
    colour: Positive
    stages: list[DistillStage]
    loss: DistillLoss
    optimizer: DistillOptimizer


@dataclass(kw_only=True)
class ClusterImages:
    """Side of a held image, a folder of tars, how many scenes to render, and their share in a batch."""

    size: Count
    photographs: str | None
    scenes: Number
    difficulty: Difficulty
    share: Share


@dataclass(kw_only=True)
class ClusterTeacher:
    """The features that images are clustered by."""

    weights: str
    scales: list[Positive]
    k: list[Count]
    resolution: Count


@dataclass(kw_only=True)
class ClusterStage:
    """Windows of clustered images."""

    steps: Count
    batch: Count
    size: Count
    area: tuple[Share, Share]


@dataclass(kw_only=True)
class ClusterLoss:
    """Temperature, and how many images a patch is to find its cluster in."""

    temperature: Positive
    group: Count


@dataclass(kw_only=True)
class ClusterDistill:
    """A recipe of train.cluster_distill."""

    seed: Number
    out: str
    device: str = "auto"
    precision: Precision
    log_every: Count
    checkpoint_minutes: Positive
    data: ClusterImages
    teacher: ClusterTeacher
    depth: Count | None = None
    colour: Positive
    stages: list[ClusterStage]
    loss: ClusterLoss
    optimizer: DistillOptimizer


@dataclass(kw_only=True)
class TextonImages:
    """How many photographs of tars, how many scenes, of which side in pixels."""

    root: str
    photographs: Number
    stickers: Number
    size: Count


@dataclass(kw_only=True)
class Dictionary:
    """Patches of each image, their side, and what is learned of them."""

    patches: Count
    side: Count
    floor: Positive
    ridge: Positive
    centres: Count
    colours: Count


@dataclass(kw_only=True)
class Textons:
    """A recipe of train.textons."""

    seed: Number
    out: str
    data: TextonImages
    dictionary: Dictionary
