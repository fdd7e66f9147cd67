"""Every key of a recipe of train.self_train, with its type.

One dataclass a section. A key without a default has to be written down; None is what is not asked for;
docs/training.md says what each key does.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from train.data.stickers.scenes import Difficulty
from train.recipe.typed import Count, FieldsOf, Number, Positive, Precision, Share


@dataclass(kw_only=True)
class Scenes:
    """Rendered scenes of the training split with the target's things."""

    name: Literal["stickers"]
    count: Count
    size: Count
    difficulty: Difficulty


@dataclass(kw_only=True)
class TarImages:
    """Images of tars, whose captions are not read."""

    name: Literal["tars"]
    root: str
    size: Count
    only: str = "*"


@dataclass(kw_only=True)
class FolderImages:
    """Image files."""

    name: Literal["folder"]
    root: str
    size: Count


@dataclass(kw_only=True)
class MapImages:
    """Kept maps of the teacher's frozen encoder."""

    name: Literal["maps"]
    encoder: str
    root: str
    folder: str
    size: Count
    clusters: Count
    count: Count | None = None
    only: str = "*"


@dataclass(kw_only=True)
class Threshold:
    """Pixels below a probability are ignored."""

    name: Literal["threshold"]
    least: Share


@dataclass(kw_only=True)
class KeptShare:
    """Of each category, the least sure pixels beyond a share are ignored."""

    name: Literal["share"]
    keep: Share


@dataclass(kw_only=True)
class AllSure:
    """No pixel is ignored."""

    name: Literal["all"]


@dataclass(kw_only=True)
class Crop:
    """Windows of images: side in pixels, share of the image, strength of changed colours."""

    size: Count
    area: tuple[Share, Share]
    colour: Positive


@dataclass(kw_only=True)
class CellDraw:
    """How many cells are drawn of each photograph, and how much oftener those of rare categories."""

    each: Count
    rare: Positive


@dataclass(kw_only=True)
class StudentOptimizer:
    """AdamW; the rate falls by `power`, and by `layer_decay` for each block below the head."""

    lr: Positive
    warmup: Count
    power: Positive
    layer_decay: Share
    weight_decay: Positive
    betas: tuple[Share, Share]
    clip: Positive
    average: Share


@dataclass(kw_only=True)
class SelfTrain:
    """A recipe of train.self_train."""

    seed: Number
    out: str
    device: str = "auto"
    precision: Precision
    log_every: Count
    checkpoint_minutes: Positive
    target: str
    teacher: str
    data: Scenes | TarImages | FolderImages | MapImages
    views: list[Count]
    mirrored: bool = False
    balanced: Number = 0
    unsure: Threshold | KeptShare | AllSure
    confusion: Share = 0.0
    init: str | None
    model: Annotated[dict, FieldsOf("sseg.models.student:SelfTrainedConfig")]
    steps: Count
    batch: Count
    crop: Crop | None = None  # of images
    cells: CellDraw | None = None  # of kept maps
    optimizer: StudentOptimizer
