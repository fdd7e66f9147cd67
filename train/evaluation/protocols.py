"""The rules under which a score is published: one table. A result names its protocol; numbers of two do not compare.

What all of them share: the picture is resized to the short side (long side at most 2048, both rounded to multiples of
32, which every model here can take), seen through overlapping windows whose maps are averaged, and resized to its own
size before the best class is chosen; labels are never resized. Maps of windows are kept at a quarter of the resolution.
"""

from dataclasses import asdict, dataclass, field

from train.evaluation.templates import IMAGENET, SIMPLE, TCL


@dataclass(frozen=True)
class Protocol:
    """One row. Sizes in pixels; thresholds and scales by family of benchmarks, "" for those not named."""

    name: str
    source: str
    short_side: int
    window: int | None  # side of the square windows; None: the whole picture at once
    stride: int
    templates: tuple[str, ...]
    vocabulary: str  # the column "tuned": assets/vocabularies/{vocabulary}-{family}.yaml, "" for our own list
    names: str  # the column taken unless --names says otherwise: "plain" or "tuned"
    score: str  # "probability": softmax over classes of each region; "pixels": over texts of each pixel, then the best
    background: str  # "window": set in each window, below min(threshold, its best); "below": below the threshold
    thresholds: dict = field(default_factory=dict)  # of the sets with a background
    top_classes: int = 0  # only the best of the whole window compete, their two softmaxes multiplied; 0: all
    hard: bool = False  # each pixel belongs to its best region alone
    scales: dict = field(default_factory=dict)  # instead of the model's own temperature; "" without a background
    smallest: dict = field(default_factory=dict)  # share of the picture below which a class becomes background

    def of(self, table: dict, family: str):
        """The entry of a family of benchmarks, or of "" for the others; None if there is neither."""
        return table.get(family, table.get(""))

    def settings(self) -> dict:
        """Plain data for a result; templates as their number."""
        return asdict(self) | {"templates": len(self.templates), "template": self.templates[0]}


PROTOCOLS = {one.name: one for one in (
    Protocol(
        "groupvit", "NVlabs/GroupViT segmentation/evaluation/group_vit_seg.py and segmentation/configs",
        448, 448, 224, SIMPLE, "groupvit", "tuned", "probability", "window",
        {"voc": 0.95, "context": 0.35, "coco-object": 0.95}, top_classes=5, hard=True,
    ),
    Protocol(
        "sclip", "wangf3014/SCLIP clip_segmentor.py, configs/cfg_*.py and cls_*.txt",
        336, 224, 112, IMAGENET, "sclip", "tuned", "pixels", "below",
        {"": 0.1}, scales={"": 40, "voc": 65, "context": 50, "coco-object": 50}, smallest={"voc": 0.1},
    ),
    Protocol(
        "tcl", "khanrc/tcl segmentation/evaluation/tcl_seg.py, no PAMR: a plane of 0.5",
        448, 448, 224, TCL, "", "plain", "probability", "below", {"": 0.5},
    ),
    Protocol(
        "paper", "S-Seg, as far as it says: soft masks, softmax over classes, threshold; GroupViT's size and "
        "template; the threshold is not given, so it has to be found with --sweep",
        448, 448, 224, SIMPLE, "", "plain", "probability", "below",
    ),
)}  # fmt: skip


def family_of(benchmark: str) -> str:
    """The table entry and vocabulary of a benchmark: all sets over one list of classes share it."""
    if benchmark.startswith("voc"):
        return "voc"
    if benchmark.startswith("context"):
        return "context"
    if benchmark.startswith("coco-object") or benchmark == "coco-mini":
        return "coco-object"
    return benchmark
