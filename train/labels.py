"""A teacher's labels of unlabelled pictures: made once, kept on the disk, resumable at any moment."""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sseg import inference
from sseg.errors import SSegError
from train.alignment import aligned, equal_shares
from train.data.kept_images import KeptImages
from train.data.unlabelled import Unlabelled
from train.files import remove_unfinished, replacing, write_whole
from train.recipe.self_training import AllSure, KeptShare, Threshold

CHUNK = 50  # pictures of a file
PLACES = 20  # a side, of each picture that the weights of categories are found on
IGNORED = 255
STRIDE = 2  # a label stands for 2 x 2 pixels
_META, _WEIGHTS = "labels.json", "weights.json"


def label(
    teacher,
    images: Unlabelled | KeptImages,
    categories: list[str],
    folder: Path,
    views: list[int],
    mirrored: bool,
    balanced: int = 0,
) -> tuple[Tensor, Tensor]:
    """What the teacher says of every picture, read from `folder` as far as it is there.

    Args:
        teacher: what `sseg.load` gives.
        categories: a phrase each, synonyms joined by `|`; they alone compete.
        views: long sides that the teacher sees a picture at, or, of kept maps, numbers of regions that it divides one
            into; probabilities are their mean.
        mirrored: whether the teacher sees each view mirrored, too.
        balanced: weigh the categories so that on so many of the pictures, drawn by chance, all have the same share
            (`train.alignment`); 0: as the teacher says.
    Returns:
        labels (M, h, w) uint8, index into categories, and confidence, of the same shape and type, probability x 255;
        both squashed to squares as the pictures are: h = w = S / 2 of pictures, the coarsest grid of kept maps.
    Raises:
        SSegError: over 254 categories, or labels in `folder` that were made otherwise.
    """
    if len(categories) >= IGNORED:
        raise SSegError(f"{len(categories)} categories are too many for one byte: take at most {IGNORED - 1}.")
    made_by = {"teacher": teacher.name, "categories": categories, "views": views, "mirrored": mirrored}
    _claim(folder, made_by | {"balanced": balanced, "pictures": images.digest()})
    seen = categories, views, mirrored
    weights = _category_weights(teacher, images, folder, balanced, *seen) if balanced else None
    labels, sure, start = [], [], time.monotonic()
    chunks = range(0, len(images.keys), CHUNK)
    todo = sum(not _path(folder, first).is_file() for first in chunks)
    made = 0
    for first in chunks:
        path = _path(folder, first)
        if not path.is_file():
            rows = range(first, min(first + CHUNK, len(images.keys)))
            answers = [_answer(_scores(teacher, images, row, *seen), weights) for row in rows]
            _write(path, np.stack([a for a, _ in answers]), np.stack([b for _, b in answers]))
            made += 1
            left = (todo - made) * (time.monotonic() - start) / made / 60
            print(f"labelled {rows.stop} of {len(images.keys)} pictures, {left:.0f} min left", file=sys.stderr)
        with np.load(path) as stored:
            labels.append(torch.from_numpy(stored["labels"]))
            sure.append(torch.from_numpy(stored["sure"]))
    return torch.cat(labels), torch.cat(sure)


@torch.inference_mode()
def _scores(teacher, images, row: int, categories: list[str], views: list[int], mirrored: bool) -> Tensor:
    """The categories' probabilities in one picture, mean over the views: (C, h, w)."""
    if isinstance(images, KeptImages):
        return probabilities(teacher, teacher.encode_maps(images.maps([row]), views), categories)
    side, image = images.pixels.shape[-1] // STRIDE, images.image(row).numpy()
    scores = torch.zeros(len(categories), side, side)
    sides = (False, True) if mirrored else (False,)
    for turned in sides:
        seen = np.ascontiguousarray(image[:, ::-1]) if turned else image
        for long_side in views:
            found = probabilities(teacher, teacher.encode(seen, long_side=long_side), categories)
            found = inference.upsample(found.cpu(), (side, side))
            scores += found.flip(2) if turned else found
    return scores / (len(sides) * len(views))


def _answer(scores: Tensor, weights: Tensor | None) -> tuple[np.ndarray, np.ndarray]:
    """Label and confidence of each place, uint8 (h, w) each, from scores (C, h, w) and the categories' weights (C,)."""
    if weights is not None:
        scores = aligned(scores.movedim(0, 2), weights).movedim(2, 0)
    best = scores.max(0)
    return best.indices.byte().numpy(), (best.values * 255).round().byte().numpy()


def _category_weights(teacher, images, folder: Path, count: int, *seen) -> Tensor:
    """What each category's probability is multiplied with, (C,): found once, then read from `folder`."""
    path, categories = folder / _WEIGHTS, seen[0]
    if not path.is_file():
        rows = torch.randperm(len(images.keys), generator=torch.Generator().manual_seed(0))[:count].tolist()
        scores = [F.adaptive_avg_pool2d(_scores(teacher, images, row, *seen), PLACES) for row in rows]
        weights = equal_shares(torch.stack(scores).movedim(1, 3).reshape(-1, len(categories)))
        write_whole(path, json.dumps(dict(zip(categories, weights.tolist(), strict=True)), indent=1))
    found = json.loads(path.read_text(encoding="utf-8"))
    return torch.tensor([found[category] for category in categories])


def probabilities(teacher, encoded, categories: list[str]) -> Tensor:
    """(C, h, w): each category's probability at each place; the categories alone compete."""
    alone = teacher.categories is None  # S-Seg+ has no other words
    return teacher.ask(encoded, categories, background=0, competitors=not alone).coarse_scores


def ignore_unsure(labels: Tensor, sure: Tensor, rule: Threshold | KeptShare | AllSure) -> tuple[Tensor, dict]:
    """Labels with `IGNORED` where the teacher is not sure enough, and what that came to.

    rule: below probability `least`; or, of each category's pixels, the least sure beyond the share `keep`, so that no
    category is lost; or none.
    """
    if rule.name == "threshold":
        drop = sure < round(255 * rule.least)
    elif rule.name == "share":
        drop = torch.zeros_like(labels, dtype=torch.bool)
        for category in labels.unique().tolist():
            own = labels == category
            counts = torch.bincount(sure[own].flatten().int(), minlength=256).flip(0).cumsum(0)  # at least so sure
            least = 255 - int((counts < rule.keep * counts[-1]).sum())
            drop |= own & (sure < least)
    else:
        drop = torch.zeros_like(labels, dtype=torch.bool)
    return labels.masked_fill(drop, IGNORED), {"ignored": round(float(drop.float().mean()), 4)}


def confuse(labels: Tensor, rate: float, categories: int, seed: int) -> Tensor:
    """Each region of a label in a picture becomes another label at `rate`: noise as a teacher's, but without reason."""
    generator = torch.Generator().manual_seed(seed)
    other = torch.randint(0, categories, (len(labels), categories), generator=generator).byte()  # each picture's own
    kept = torch.arange(categories).byte().expand_as(other)
    table = torch.where(torch.rand(len(labels), categories, generator=generator) < rate, other, kept)
    table = torch.cat([table, torch.full((len(labels), IGNORED + 1 - categories), IGNORED).byte()], 1)
    return table.gather(1, labels.flatten(1).long()).view_as(labels)


def _claim(folder: Path, made_by: dict) -> None:
    path = folder / _META
    remove_unfinished(folder)
    if not path.is_file():
        write_whole(path, json.dumps(made_by, indent=1, ensure_ascii=False))
    elif (found := json.loads(path.read_text(encoding="utf-8"))) != made_by:
        other = next(key for key in made_by if found.get(key) != made_by[key])
        raise SSegError(f"{folder} holds labels of another {other}: remove that folder, or change out=.")


def _path(folder: Path, first: int) -> Path:
    return folder / f"{first:07d}.npz"


def _write(path: Path, labels: np.ndarray, sure: np.ndarray) -> None:
    """Whole or not at all, whenever the process is killed."""
    with replacing(path) as part, part.open("wb") as file:
        np.savez_compressed(file, labels=labels, sure=sure)
