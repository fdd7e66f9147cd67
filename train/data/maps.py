"""Maps of a frozen encoder, computed once and kept: everything behind them then trains at hundreds of pairs a second.

A folder holds, for V views (crops) of each of M photographs, the encoder's maps in half precision, memory-mapped, and
the clusters of each view, which the masks learn from:

    maps.json                   what made them: encoder, size, tars, and which samples
    view-0-level-0.npy          (M, C, h, w) float16, fine to coarse; view 0: the photograph squashed to a square
    view-0-clusters.npy         (M, h, w) uint8: K-Means of `sseg.models.map_clusters`, on the last map's cells but one
    view-0-done-0-of-2.txt      how many batches part 0 of 2 has written: a stopped run goes on there
    damaged.json                which of the listed samples have pictures that cannot be read; they are left out
"""

import json
import math
import os
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from sseg import images
from sseg.errors import SSegError
from sseg.models.map_clusters import cluster
from train.data.tars import Sample, list_samples
from train.files import write_whole

AREA = (0.3, 0.9)  # share of the photograph that a view shows, but for view 0
STRETCH = 0.3  # a view's logarithm of width / height, against the photograph's, is at most this
AT_ONCE = 16  # photographs written at once; the encoder takes them one by one, which fits a processor's cache


class Kept(NamedTuple):
    """Which maps are kept, from a recipe's `maps`."""

    folder: Path
    size: int  # side in pixels of the squares that the encoder sees
    views: int
    clusters: int  # K

    def file(self, view: int, what: str) -> Path:
        return self.folder / f"view-{view}-{what}.npy"


def samples_of(root: Path, only: str = "*") -> list[Sample]:
    """The samples of a folder's tars in the order of the kept maps: shuffled with seed 0, so parts are alike."""
    samples, incomplete = list_samples(root, only)
    if incomplete:
        print(f"left out of {root}: {incomplete} samples without picture, caption or end", file=sys.stderr)
    random.Random(0).shuffle(samples)
    return samples


def readable(folder: Path, samples: list[Sample]) -> list[Sample]:
    """The samples without damaged pictures: found when the maps' folder is new, written down there, said once."""
    record = folder / "damaged.json"
    if not record.is_file() and (folder / "maps.json").is_file():
        return samples  # maps from before damaged pictures were written down
    if not record.is_file():
        with ThreadPoolExecutor() as pool:  # Pillow decodes outside Python's lock
            fine = list(pool.map(_opens, samples))
        damaged = [_name(sample) for sample, opens in zip(samples, fine, strict=True) if not opens]
        if damaged:
            print(f"left out of {folder}: {len(damaged)} damaged pictures", file=sys.stderr)
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(record, json.dumps(damaged))
    damaged = set(json.loads(record.read_text(encoding="utf-8")))
    return [sample for sample in samples if _name(sample) not in damaged]


def _name(sample: Sample) -> str:
    return f"{sample.tar.name}/{sample.key}"


def view_of(image: Image.Image, index: int, view: int, size: int) -> np.ndarray:
    """View number `view` of photograph `index`: (size, size, 3) uint8; odd views are mirrored."""
    width, height = image.size
    box = (0, 0, width, height)
    if view:
        rng = random.Random(31 * index + view)
        area, stretch = rng.uniform(*AREA) * width * height, math.exp(rng.uniform(-STRETCH, STRETCH))
        w, h = min(width, round(math.sqrt(area * stretch))), min(height, round(math.sqrt(area / stretch)))
        x, y = rng.randint(0, width - w), rng.randint(0, height - h)
        box = (x, y, x + w, y + h)
    image = image.resize((size, size), Image.Resampling.BICUBIC, box=box)
    if view % 2:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(image)


def keep(kept: Kept, samples: list[Sample], encoder: nn.Module, name: str, mean, std, part: int = 0, parts: int = 1):
    """Compute what is missing of part `part` of the maps; says size and time before it begins, and how long it takes.

    Args:
        encoder: pictures (B, 3, S, S) -> `feature_maps`, in evaluation mode; name: what is written down as its name.
        mean, std: of the encoder's pictures, for values in 0..1.
        part, parts: this process's share of the batches; what others have written is left as it is.
    Raises:
        SSegError: the folder holds maps of another encoder, size or other samples.
    """
    shapes = map_shapes(encoder, kept.size)
    _open_folder(kept, samples, name, shapes)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (mean, std))
    _announce(kept, len(samples), shapes)
    for view in range(kept.views):
        levels = [np.load(kept.file(view, f"level-{i}"), mmap_mode="r+") for i in range(len(shapes))]
        clusters = np.load(kept.file(view, "clusters"), mmap_mode="r+")
        record = kept.folder / f"view-{view}-done-{part}-of-{parts}.txt"
        batches = range(part, -(-len(samples) // AT_ONCE), parts)
        written, start = _written(kept, view, -(-len(samples) // AT_ONCE)), time.monotonic()
        todo = [(place, batch) for place, batch in enumerate(batches, 1) if batch not in written]
        for count, (place, batch) in enumerate(todo, 1):
            first = batch * AT_ONCE
            chosen = samples[first : first + AT_ONCE]
            pictures = [view_of(_open(sample), first + i, view, kept.size) for i, sample in enumerate(chosen)]
            found = [_encode(encoder, image, mean, std) for image in pictures]
            maps = [torch.cat(level) for level in zip(*found, strict=True)]
            for level, made in zip(levels, maps, strict=True):
                level[first : first + len(chosen)] = made.numpy()
            seeds = torch.arange(first, first + len(chosen))
            clusters[first : first + len(chosen)] = cluster(maps, kept.clusters, seeds).numpy()
            if count % 10 == 0 or count == len(todo):
                write_whole(record, str(place))
            if count % 50 == 0:
                left = (time.monotonic() - start) / count * (len(todo) - count) / 60
                print(f"view {view}: {place} of {len(batches)} batches, {left:.0f} min left", file=sys.stderr)


def _written(kept: Kept, view: int, batches: int) -> set[int]:
    """The batches of a view that any part has written, however many parts there were."""
    found: set[int] = set()
    for record in kept.folder.glob(f"view-{view}-done-*-of-*.txt"):
        part, parts = (int(number) for number in record.stem.split("-done-")[1].split("-of-"))
        found.update(range(part, batches, parts)[: int(record.read_text(encoding="utf-8"))])
    return found


def map_shapes(encoder: nn.Module, size: int) -> list[tuple[int, int, int]]:
    """(C, h, w) of each map of a square picture of that side."""
    with torch.inference_mode():
        image = torch.zeros(1, 3, size, size, device=next(encoder.parameters()).device)
        return [tuple(one.shape[1:]) for one in encoder(image).feature_maps]


def _encode(encoder, image: np.ndarray, mean: Tensor, std: Tensor) -> list[Tensor]:
    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255
    values = ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        maps = encoder(values.to(next(encoder.parameters()).device)).feature_maps
    return [one.half().contiguous().cpu() for one in maps]


def _open(sample: Sample) -> Image.Image:
    """The picture, read as in use; SSegError if it is damaged."""
    with sample.tar.open("rb") as file:
        file.seek(sample.offset)
        data = file.read(sample.size)
    try:
        return Image.fromarray(images.read(data))
    except SSegError as error:
        raise SSegError(f"The picture {sample.key} of {sample.tar} is damaged: take it out of the tar.") from error


def _opens(sample: Sample) -> bool:
    try:
        return bool(_open(sample))
    except SSegError:
        return False


def _open_folder(kept: Kept, samples: list[Sample], name: str, shapes) -> None:
    """Make the folder and its empty files, or check that it holds maps of the very same."""
    described = {"encoder": name, "size": kept.size, "clusters": kept.clusters, "keys": [s.key for s in samples]}
    listing = kept.folder / "maps.json"
    other = SSegError(f"{kept.folder} holds maps of another encoder, size or data: name another data.folder.")
    if listing.is_file():
        if json.loads(listing.read_text(encoding="utf-8")) != described:
            raise other
    else:
        kept.folder.mkdir(parents=True, exist_ok=True)
        write_whole(listing, json.dumps(described))
    for view in range(kept.views):
        files = {f"level-{i}": (np.float16, shape) for i, shape in enumerate(shapes)}
        files["clusters"] = (np.uint8, shapes[-2][1:])
        for what, (kind, shape) in files.items():
            path = kept.file(view, what)
            if not path.is_file():
                unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
                np.lib.format.open_memmap(unfinished, "w+", kind, (len(samples), *shape)).flush()
                _put(unfinished, path)
            elif np.load(path, mmap_mode="r").shape != (len(samples), *shape):
                raise other


def _put(unfinished: Path, path: Path) -> None:
    """Give a file its name, unless another process was faster: what that one writes must not be lost."""
    try:
        os.link(unfinished, path)
    except OSError:  # there already, or a file system without links
        if not path.is_file():
            os.replace(unfinished, path)
    unfinished.unlink(missing_ok=True)


def _announce(kept: Kept, count: int, shapes) -> None:
    size = kept.views * count * sum(2 * math.prod(shape) for shape in shapes) / 1e9
    print(f"maps of {kept.views} views of {count:,} photographs: {size:.1f} GB in {kept.folder}", file=sys.stderr)
