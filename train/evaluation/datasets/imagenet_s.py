"""ImageNet-S (Gao et al. 2022, LUSSeg): semantic masks of ImageNet photographs, 50, 300 or 919 classes and the rest.

    ROOT/ImageNetS919/validation/nXXXXXXXX/NAME.JPEG, validation-segmentation/nXXXXXXXX/NAME.png

A mask is an RGB picture: id = R + 256 G; 0 = other, 1000 = ignored, else the place, counted from 1, of the class among
the sorted WordNet tags of the split, which are the names of its folders. Names come from timm's list of ImageNet.
"""

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from sseg.errors import SSegError
from sseg.paths import visible
from train.evaluation.datasets.photographs import PhotographBenchmark, check_count, folder_of

SOURCE = "github.com/LUSSeg/ImageNet-S (datapreparation)"
COUNTS = {50: (752,), 300: (4097,), 919: (12419,)}
IGNORED = 1000


def open_imagenet_s(name: str = "imagenet-s-50", root=None, limit=None, split="val", partial=False):
    """The validation photographs of `imagenet-s-50`, `-300` or `-919`. SSegError if a part is missing."""
    if split != "val":
        raise SSegError(f"{name} has masks for validation alone: choose a threshold with --sweep halves.")
    classes = int(name.rsplit("-", 1)[1])
    folder = _folder(name, folder_of(name, "imagenet-s", root), classes)
    tags = [path.name for path in visible(folder / "validation") if path.is_dir()]
    if len(tags) != classes:
        raise SSegError(
            f"{folder / 'validation'} has {len(tags)} folders of classes, {name} has {classes}, and ids "
            f"count them: fetch it whole from {SOURCE}."
        )
    pairs = [
        (image, folder / "validation-segmentation" / tag / f"{image.stem}.png")
        for tag in tags
        for image in visible(folder / "validation" / tag)
    ]
    check_count(name, len(pairs), COUNTS[classes], partial, SOURCE)
    names = ["other", *(name_of(tag) for tag in tags)]
    benchmark = PhotographBenchmark(name, pairs, names, range(classes + 1), [IGNORED], limit=limit, read=read_rgb)
    benchmark.background = 0  # "other": no class of the split
    return benchmark


def read_rgb(path: Path) -> np.ndarray:
    """Ids R + 256 G as int32 (H, W): eight bits would not hold them. SSegError for anything but RGB PNG."""
    try:
        with Image.open(path) as mask:
            if mask.mode != "RGB" or mask.format != "PNG":
                raise SSegError(
                    f"{path} is {mask.mode} {mask.format}, not RGB PNG, where ids are R + 256 G: fetch the "
                    "published masks."
                )
            pixels = np.asarray(mask).astype(np.int32)  # (H, W, 3)
    except OSError:
        raise SSegError(f"{path} is damaged: fetch it again.") from None
    return pixels[..., 0] + 256 * pixels[..., 1]


def name_of(tag: str) -> str:
    """The first name that WordNet gives a tag, n01440764 -> tench. SSegError for none of ImageNet's."""
    names = _names()
    if tag not in names:
        raise SSegError(f'The folder "{tag}" is no class of ImageNet: keep only the published folders in validation/.')
    return names[tag]


@cache
def _names() -> dict[str, str]:
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    return {tag: info.label_name_to_description(tag, detailed=False).split(",")[0] for tag in info.label_names()}


def _folder(name, root, classes):
    for place in (root / f"ImageNetS{classes}", root):
        if (place / "validation").is_dir():
            return place
    raise SSegError(f"There is no ImageNetS{classes}/validation in {root}: fetch it from {SOURCE}.")
