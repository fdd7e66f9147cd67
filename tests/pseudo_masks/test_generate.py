"""Pseudo-masks of pictures whose right division is known."""

import pytest
import torch

from sseg.errors import SSegError
from sseg.features import source
from sseg.metrics import StreamingIoU, oracle_update
from sseg.pseudo_masks.generate import grid_of, pseudo_masks

PIXELS = source("pixels")


def discs(count, side=96):
    """Dark red discs on a noisy green ground, and their truth."""
    g = torch.Generator().manual_seed(1)
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    centres = torch.rand(count, 2, 1, 1, generator=g) * 0.4 * side + 0.3 * side
    inside = (y - centres[:, 0]).square() + (x - centres[:, 1]).square() < (0.2 * side) ** 2
    colours = torch.where(
        inside[:, None], torch.tensor([150.0, 20, 20])[:, None, None], torch.tensor([60.0, 170, 60])[:, None, None]
    )
    noise = torch.randn(count, 3, side, side, generator=g) * 20
    return (colours + noise).clamp(0, 255).byte(), inside.long()


@pytest.mark.parametrize("grid", [(24, 24), (32, 20)])
def test_discs_are_separated_from_their_ground(grid):
    images, truth = discs(8)
    masks = pseudo_masks(images, PIXELS, 6, grid)
    assert masks.shape == (8, *grid) and masks.dtype == torch.int64
    assert int(masks.min()) == 0 and int(masks.max()) == 5
    metric = StreamingIoU(2)
    for ids, labels in zip(masks, truth, strict=True):
        oracle_update(metric, ids, labels)
    assert metric.compute()["miou"] > 0.85


def test_seeds_repeat_and_batch_mates_do_not_matter():
    images, _ = discs(6)
    seeds = torch.tensor([4, 8, 15, 16, 23, 42])
    together = pseudo_masks(images, PIXELS, 8, (24, 24), seeds)
    assert (pseudo_masks(images[2:3], PIXELS, 8, (24, 24), 15)[0] == together[2]).all()
    assert (pseudo_masks(images, PIXELS, 8, (24, 24), seeds + 1) != together).any()


def test_more_clusters_raise_the_ceiling():
    shades = torch.tensor([[250, 20, 20], [20, 200, 20], [30, 30, 240], [240, 230, 30], [20, 20, 20], [240, 240, 240]])
    truth = torch.arange(6).repeat_interleave(16).expand(96, 96)
    image = shades[truth].permute(2, 0, 1)[None].byte()
    scores = []
    for k in (3, 12):
        metric = StreamingIoU(6)
        oracle_update(metric, pseudo_masks(image, PIXELS, k, (24, 24))[0], truth)
        scores.append(metric.compute()["miou"])
    assert scores[0] <= 0.5 and scores[1] > 0.95


def test_more_clusters_than_cells_is_named():
    with pytest.raises(SSegError, match="10 clusters of 9 tokens"):
        pseudo_masks(torch.zeros(1, 3, 9, 9, dtype=torch.uint8), PIXELS, 10, (3, 3))


@pytest.mark.parametrize(
    ("size", "resolution", "grid"),
    [
        ((448, 448), 448, (56, 56)),
        ((224, 224), 448, (56, 56)),
        ((375, 500), 448, (48, 65)),
        ((500, 375), 224, (32, 24)),
        ((1, 4000), 448, (20, 158)),
        ((10, 10), 8, (1, 1)),
    ],
)
def test_grids_keep_the_proportions_and_the_number_of_cells(size, resolution, grid):
    assert grid_of(*size, resolution) == grid
