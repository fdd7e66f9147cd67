"""Learn the texton dictionary: patches of pictures in, the convolution that the features `textons` use out.

    python -m train.textons train/recipes/textons.yaml                       # photographs of $SSEG_DATA, and stickers
    python -m train.textons train/recipes/textons.yaml out=runs/try seed=1   # with changes
    python -m train.textons train/recipes/textons.yaml data.photographs=0    # stickers alone, nothing to download

No labels and no captions go in. Coates and Ng 2011, "An analysis of single-layer networks in unsupervised feature
learning": random patches, contrast normalised and whitened, their centres by K-Means.
"""

import json
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import sklearn
import torch
import yaml
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor

from sseg import images
from sseg.errors import SSegError
from sseg.features.pixels import opponent
from sseg.features.textons import Dictionary
from sseg.stopping import stoppable
from train.checkpoints import save_tensors
from train.data.stickers.scenes import TEST
from train.data.stickers.world import StickerWorld
from train.data.tars import data_path, members, tars_of
from train.files import write_whole
from train.provenance import commit, hardware, versions
from train.recipe import Textons, mapping_of, read_arguments
from train.recipe.features import Dictionary as DictionaryRecipe
from train.recipe.features import TextonImages

SCENES = 50  # stickers planned from one seed
CARD = """---
license: apache-2.0
library_name: sseg
tags: [unsupervised, textons, s-seg]
---

# textons

A dictionary of {centres} image patches and {colours} colours for the feature source `textons`, which S-Seg clusters
into pseudo-masks. Learned without labels, captions or a network: {patches:,} random patches of {patch} x {patch} pixels
from {photographs} photographs and {stickers} rendered scenes, contrast normalised and whitened, then mini-batch K-Means
(Coates and Ng 2011, "An analysis of single-layer networks in unsupervised feature learning"). No picture and no part
of one is in the file: a centre is the mean of hundreds of patches.

```python
from sseg.features import source
from sseg.pseudo_masks.generate import grid_of, pseudo_masks
clusters = pseudo_masks(pixels, source("textons"), k=8, grid=grid_of(*pixels.shape[-2:]))  # pixels (B, 3, H, W) uint8
```

`model.safetensors` holds `filters` ({centres}, 3, {patch}, {patch}) and `offsets` ({centres},): contrast
normalisation, whitening and the distances to all centres as one convolution; `floor` (), the variance that is added to
that of a patch; `colours` ({colours}, 3), as `sseg.features.pixels.opponent` gives them.

Learned in {seconds:.0f} seconds of one core, {hardware}, seed {seed}, commit {commit}; the whole recipe is in
`recipe.yaml`. {versions}.
"""


def pictures(data: TextonImages, seed: int) -> Iterator[Tensor]:
    """Photographs as they are, then rendered scenes: (3, H, W) uint8, the same for the same seed."""
    if data.photographs:
        root = data_path(data.root)
        found = [
            (tar, *parts["picture"]) for tar in tars_of(root) for parts in members(tar).values() if "picture" in parts
        ]
        if len(found) < data.photographs:
            raise SSegError(f"There are only {len(found)} pictures in {root}: lower data.photographs.")
        for tar, offset, size in random.Random(seed).sample(found, data.photographs):
            with tar.open("rb") as file:
                file.seek(offset)
                yield torch.from_numpy(images.read(file.read(size))).permute(2, 0, 1)
    if data.stickers:
        world = StickerWorld(data.size)
        for start in range(0, data.stickers, SCENES):
            scenes, _ = world.batch(seed * 1_000_000_007 + start, SCENES, TEST)
            yield from scenes[: data.stickers - start]


def random_patches(image: Tensor, count: int, side: int, generator) -> Tensor:
    """(3, H, W) -> (count, 3 * side * side) float, each from a place of its own draw."""
    height, width = image.shape[1:]
    if min(height, width) < side:
        raise SSegError(f"A picture of {width} x {height} pixels has no patch of {side} x {side}: leave it out.")
    tops = torch.randint(height - side + 1, (count, 1), generator=generator)
    lefts = torch.randint(width - side + 1, (count, 1), generator=generator)
    steps = torch.arange(side)
    rows, columns = (tops + steps)[:, :, None], (lefts + steps)[:, None]  # (count, side, 1), (count, 1, side)
    return image[:, rows, columns].transpose(0, 1).flatten(1).float()


def contrast_normalised(patches: Tensor, floor: float) -> Tensor:
    """Patches (n, d) without their mean, divided by their deviation."""
    patches = patches - patches.mean(1, keepdim=True)
    return patches / (patches.square().mean(1, keepdim=True) + floor).sqrt()


def whitening(x: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """Mean (d,) of x (n, d), and the symmetric (d, d) that gives its axes variance v / (v + ridge) (ZCA)."""
    mean = x.mean(0)
    variances, axes = torch.linalg.eigh((x - mean).T @ (x - mean) / len(x))
    return mean, axes * (variances.clamp_min(0) + ridge).rsqrt() @ axes.T


def fold(centres: Tensor, mean: Tensor, whiten: Tensor, side: int, floor: float) -> dict[str, Tensor]:
    """All tensors of a `Dictionary` but its colours.

    One convolution stands for: take the patch's mean away, (divide by its deviation,) whiten, compare with centres. A
    response is the centres' mean squared distance less that to the centre (`sseg.features.textons.responses`).
    """
    squares = centres.square().sum(1)
    linear = 2 * (centres - centres.mean(0)) @ whiten.T  # (k, d)
    offsets = squares.mean() - squares - linear @ mean
    filters = linear - linear.mean(1, keepdim=True)
    return {
        "filters": filters.view(len(centres), 3, side, side),
        "offsets": offsets,
        "floor": torch.tensor(float(floor)),
    }


def learn(found: Iterator[Tensor], recipe: DictionaryRecipe, seed: int,
          total: int | None = None) -> tuple[Dictionary, int]:  # fmt: skip
    """The dictionary of pictures (3, H, W) uint8, and how many patches it was learned from."""
    generator = torch.Generator().manual_seed(seed)
    patches, start = [], time.monotonic()
    for number, image in enumerate(found, 1):
        patches.append(random_patches(image, recipe.patches, recipe.side, generator))
        if total and (number % 100 == 0 or number == total):
            left = (time.monotonic() - start) * (total / number - 1)
            print(f"read {number} of {total} pictures, {left:.0f} s left", file=sys.stderr, flush=True)
    patches = torch.cat(patches)  # (n, 3 * side * side)
    needed = max(recipe.centres, recipe.colours)
    if len(patches) < needed:
        raise SSegError(f"{len(patches)} patches are too few for {needed} centres: take more pictures.")
    print(f"K-Means of {len(patches):,} patches", file=sys.stderr, flush=True)
    x = contrast_normalised(patches, recipe.floor)
    mean, whiten = whitening(x, recipe.ridge)
    textons = centres_of((x - mean) @ whiten, recipe.centres, seed)
    colours = opponent(patches.view(len(patches), 3, -1)[:, :, 0] / 255)  # each patch's first pixel
    folded = fold(textons, mean, whiten, recipe.side, recipe.floor)
    return Dictionary(**folded, colours=centres_of(colours, recipe.colours, seed)), len(patches)


def centres_of(x: Tensor, count: int, seed: int) -> Tensor:
    """Centres (count, d) of x (n, d) by mini-batch K-Means."""
    kmeans = MiniBatchKMeans(count, batch_size=4096, n_init=3, random_state=seed).fit(x.numpy())
    return torch.from_numpy(kmeans.cluster_centers_).float()


def write(folder: Path, dictionary: Dictionary, recipe: Textons, patches: int, seconds: float) -> None:
    """The dictionary, what made it, and its card."""
    save_tensors(folder / "model.safetensors", {name: t.contiguous() for name, t in dictionary._asdict().items()})
    write_whole(folder / "recipe.yaml", yaml.safe_dump(mapping_of(recipe), sort_keys=False))
    used = versions() | {"scikit-learn": sklearn.__version__}
    made = {
        "model_type": "textons",
        "patches": patches,
        "seconds": round(seconds, 1),
        "commit": commit(),
        "hardware": hardware(),
        "versions": used,
    }
    write_whole(folder / "config.json", json.dumps(made, indent=1) + "\n")
    centres, _, side, _ = dictionary.filters.shape
    facts = made | vars(recipe.data) | {"seed": recipe.seed, "centres": centres, "patch": side}
    facts |= {"colours": len(dictionary.colours), "versions": ", ".join(f"{name} {v}" for name, v in used.items())}
    write_whole(folder / "README.md", CARD.format(**facts))


def run(recipe: Textons) -> None:
    """Learn and write the dictionary of a recipe."""
    start = time.process_time()
    data, seed = recipe.data, recipe.seed
    total = data.photographs + data.stickers
    dictionary, patches = learn(pictures(data, seed), recipe.dictionary, seed, total)
    write(Path(recipe.out), dictionary, recipe, patches, time.process_time() - start)
    print(f"wrote {recipe.out}: {patches:,} patches, {len(dictionary.filters)} centres", file=sys.stderr)


@stoppable("Stopped.")
def main(arguments: list[str] | None = None) -> int:
    try:
        run(read_arguments(Textons, __doc__, arguments, resumable=False)[0])
    except SSegError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
