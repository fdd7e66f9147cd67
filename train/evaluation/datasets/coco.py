"""COCO val2017 as label maps made from its annotations.

    ROOT/val2017/NAME.jpg, objects/val2017/NAME.png (thing ids 1..90, 0 = none), semantic/val2017/NAME.png (panoptic
    ids, 0 = unlabelled), annotations/instances_val2017.json and panoptic_val2017.json (names of the ids)

`coco-mini`: objects, 80 classes and the background. `coco-mini-stuff`: things and surroundings, 133 classes, without
what nobody labelled. Both are small parts of the 5,000 photographs; their figures do not compare with those of the set.
"""

import json

from sseg.errors import SSegError
from sseg.paths import visible
from train.evaluation.datasets.photographs import PhotographBenchmark, folder_of

KINDS = {"coco-mini": ("objects", "instances_val2017.json"), "coco-mini-stuff": ("semantic", "panoptic_val2017.json")}


def open_coco(name: str, root=None, limit=None) -> PhotographBenchmark:
    """The photographs that have a mask of that kind. SSegError if a part of the layout is missing."""
    masks, annotations = KINDS[name]
    folder = folder_of(name, "coco-val-mini", root)
    path = folder / "annotations" / annotations
    try:
        categories = json.loads(path.read_text(encoding="utf-8"))["categories"]
    except (OSError, ValueError, KeyError):
        raise SSegError(f"{path} is missing or damaged: --root must hold COCO's layout, see docs/data.md.") from None
    ids, names = [one["id"] for one in categories], [one["name"] for one in categories]
    pairs = [(folder / "val2017" / f"{p.stem}.jpg", p) for p in visible(folder / masks / "val2017", "*.png")]
    if masks == "objects":
        return PhotographBenchmark(name, pairs, ["background", *names], [0, *ids], [255], None, limit)
    groups = {"things": [i for i, one in enumerate(categories) if one["isthing"]]}
    groups["stuff"] = [i for i, one in enumerate(categories) if not one["isthing"]]
    return PhotographBenchmark(name, pairs, names, ids, [0, 255], groups, limit)
