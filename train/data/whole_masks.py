"""Pseudo-masks of whole images of tars: made now, or read as `train.pseudo_masks` has written them."""

import json
import sys
import tarfile
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from sseg import images
from sseg.errors import SSegError
from sseg.features import FeatureSource, source
from sseg.pseudo_masks.generate import CELL, grid_of, pseudo_masks
from train.data.tars import data_path, members
from train.recipe.pretraining import PseudoMasks

META = "meta.json"
FACET = FeatureSource.facets[0]
STEPS = 10  # K-Means (paper, section 9.3)
BATCH = 16  # pictures clustered together
WAITING = 16  # batches' worth of decoded pictures that may wait for others of their size
AHEAD = 32  # pictures decoded ahead


class Settings(NamedTuple):
    """What the ids of a picture depend on beside its file and its key."""

    features: str
    k: int
    resolution: int  # see sseg.pseudo_masks.generate.grid_of
    facet: str = FACET

    def described(self) -> dict:
        """With the fixed rules, as they stand in meta.json."""
        rules = {"cell": CELL, "kmeans_steps": STEPS, "seeds": "BLAKE2b of the key, 63 bits"}
        return self._asdict() | rules | {"most_pixels": self.most_pixels}

    @property
    def most_pixels(self) -> int:
        """A bigger picture is scaled down to so many first: two pixels along each of those that features see."""
        return 4 * self.resolution**2


def seed_of(key: str) -> int:
    """The seed of a picture's clusters, from its key alone: 0 to 2^63 - 1."""
    return int.from_bytes(blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big") >> 1


class WholeMasks:
    """Makes the pseudo-masks of all pictures of tars, whether they have captions or not."""

    def __init__(self, settings: Settings, device="cpu", batch: int = BATCH):
        """Raises SSegError for features that do not exist and for a k that 8 bits do not hold."""
        if not 1 <= settings.k <= 256:
            raise SSegError(f"Pseudo-masks are kept in 8 bits: k {settings.k} is not in 1..256.")
        self.device, self.batch = torch.device(device), batch
        self.source = source(settings.features, settings.facet, self.device)
        self.settings = settings._replace(features=self.source.name)  # what "auto" came to
        self.damaged = self.missing = 0  # pictures that cannot be read, samples without one

    def __call__(self, tars: list[Path]) -> Iterator[dict[str, np.ndarray]]:
        """For each tar, the keys of its pictures in their order, with ids (h, w) uint8 on the grid of `grid_of`."""
        progress = Progress(sum(tar.stat().st_size for tar in tars))
        with ThreadPoolExecutor() as pool:  # Pillow decodes outside Python's lock
            for tar in tars:
                yield self._shard(tar, pool, progress)

    def _shard(self, tar: Path, pool: ThreadPoolExecutor, progress: "Progress") -> dict[str, np.ndarray]:
        samples = members(tar)
        places = {key: parts["picture"] for key, parts in samples.items() if "picture" in parts}
        self.missing += len(samples) - len(places)
        found, waiting = {}, {}  # waiting: (H, W, 3) -> key -> picture
        for key, image in self._images(tar, places, pool):
            progress.add(tar.stat().st_size / len(places))
            if image is None:
                self.damaged += 1
                continue
            alike = waiting.setdefault(image.shape, {})
            alike[key] = image
            if len(alike) == self.batch:
                found |= self._cluster(waiting.pop(image.shape))
            elif sum(map(len, waiting.values())) > WAITING * self.batch:
                found |= self._cluster(waiting.pop(max(waiting, key=lambda shape: len(waiting[shape]))))
        for alike in waiting.values():
            found |= self._cluster(alike)
        return {key: found[key] for key in places if key in found}

    def _images(self, tar: Path, places: dict, pool: ThreadPoolExecutor) -> Iterator[tuple[str, np.ndarray | None]]:
        """Key and picture, None where it is damaged; some are decoded ahead."""
        ahead = deque()
        with tar.open("rb") as file:
            for key, (offset, size) in places.items():
                file.seek(offset)
                ahead.append((key, pool.submit(self._decode, file.read(size))))
                if len(ahead) > AHEAD:
                    key, image = ahead.popleft()
                    yield key, image.result()
        for key, image in ahead:
            yield key, image.result()

    def _decode(self, data: bytes) -> np.ndarray | None:
        try:
            return images.read(data, self.settings.most_pixels)
        except SSegError:
            return None

    def _cluster(self, pictures: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Pictures of one size by key -> their ids."""
        pixels = torch.stack([torch.from_numpy(image).permute(2, 0, 1) for image in pictures.values()])
        grid = grid_of(*pixels.shape[-2:], self.settings.resolution)
        seeds = torch.tensor([seed_of(key) for key in pictures])
        ids = pseudo_masks(pixels.to(self.device), self.source, self.settings.k, grid, seeds, STEPS)  # (B, h, w)
        return dict(zip(pictures, ids.to(torch.uint8).cpu().numpy(), strict=True))


class StoredMasks:
    """Reads what `write` has written with the same settings; called as `WholeMasks`, and gives the same."""

    def __init__(self, folder, settings: Settings):
        """Raises SSegError where there are no masks or where they were made otherwise."""
        self.folder, self.k = data_path(folder), settings.k
        meta = read_meta(self.folder)
        if meta is None:
            raise SSegError(f"There are no pseudo-masks in {self.folder}: make them with python -m train.pseudo_masks.")
        if other := differences(meta, settings.described()):
            raise SSegError(f"The pseudo-masks in {self.folder} are not the recipe's, they have {other}: change one.")

    def __call__(self, tars: list[Path]) -> Iterator[dict[str, np.ndarray]]:
        """For each tar, key -> ids (h, w) uint8. Raises SSegError for shards that are missing or damaged."""
        missing = [tar.name for tar in tars if not (self.folder / tar.name).is_file()]
        if missing:
            raise SSegError(
                f"{self.folder} lacks the pseudo-masks of {len(missing)} of {len(tars)} tars "
                f"({missing[0]} first): run python -m train.pseudo_masks to its end."
            )
        for tar in tars:
            yield read_shard(self.folder / tar.name, self.k)


def open_masks(recipe: PseudoMasks, stages: list, device) -> WholeMasks | StoredMasks | None:
    """The masks of whole pictures that a recipe's `pseudo_masks` asks for; None: those of each crop are made."""
    if not (recipe.stored or recipe.whole):
        return None
    ks = sorted({stage.k for stage in stages})
    if recipe.k is None and len(ks) != 1:
        raise SSegError(f"The pseudo-masks of whole pictures have one k: give all stages the same instead of {ks}.")
    k = recipe.k or ks[0]
    if k > ks[0]:
        raise SSegError(f"pseudo_masks.k {k} is more than a stage's k, {ks[0]}: raise that.")
    settings = Settings(recipe.features, k, recipe.resolution, recipe.facet or FACET)
    return StoredMasks(recipe.stored, settings) if recipe.stored else WholeMasks(settings, device)


def read_meta(folder: Path) -> dict | None:
    """How the masks of a folder were made; None where nothing says so."""
    try:
        return dict(json.loads((folder / META).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, OSError):
        raise SSegError(f"{folder / META} cannot be read: make the pseudo-masks anew in another folder.") from None


def differences(found: dict, wanted: dict) -> str:
    """Where a folder departs from what is wanted, in words; empty where it does not."""
    other = {key: value for key, value in wanted.items() if found.get(key) != value}
    return ", ".join(f"{key} {found.get(key)} instead of {value}" for key, value in other.items())


def read_shard(path: Path, k: int) -> dict[str, np.ndarray]:
    """Key -> ids (h, w) uint8 below k."""
    masks = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                with Image.open(tar.extractfile(member)) as image:
                    masks[member.name.removesuffix(".png")] = ids = np.array(image)
                if ids.dtype != np.uint8 or ids.ndim != 2 or ids.max() >= k:
                    raise ValueError(f"{member.name} is no grid of ids below {k}")
    except (tarfile.TarError, OSError, SyntaxError, ValueError) as error:
        raise SSegError(f"{path} is damaged ({error}): delete it and run python -m train.pseudo_masks again.") from None
    return masks


class Progress:
    """A line on stderr now and then; the time left is that of the bytes left."""

    def __init__(self, total: int):
        self.total, self.images, self.read = total, 0, 0.0
        self.start = self.said = time.monotonic()
        self.live = sys.stderr.isatty()

    def add(self, size: float) -> None:
        """One more picture, which takes `size` bytes of its tar."""
        self.images, self.read, now = self.images + 1, self.read + size, time.monotonic()
        if now - self.said < (0.5 if self.live else 30):  # a log wants few lines
            return
        self.said, seconds = now, now - self.start
        left = seconds * max(0.0, self.total / self.read - 1)
        line = f"{self.images} pictures, {self.images / seconds:.0f} a second, {left:.0f} s left"
        print(f"\r{line}  " if self.live else line, end="" if self.live else "\n", file=sys.stderr, flush=True)
