"""Feature sources: sizes, area averages, and what the pixel features promise K-Means."""

import numpy as np
import pytest
import torch
from PIL import Image

from sseg.errors import SSegError
from sseg.features import cell_means, positions, source


def pictures(count=2, height=48, width=48, seed=0):
    g = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 6, 6, generator=g)
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear").mul(255).byte()


SIZES = [((12, 12), (48, 48)), ((7, 13), (50, 41)), ((56, 56), (48, 48)), ((1, 1), (9, 9))]


@pytest.mark.parametrize(("grid", "size"), SIZES)
def test_any_grid_on_any_size_gives_finite_float32(grid, size):
    x = source("pixels")(pictures(2, *size), grid)
    assert x.shape[:3] == (2, *grid) and x.dtype == torch.float32 and torch.isfinite(x).all()


@pytest.mark.parametrize("grid", [(4, 8), (6, 3)])
def test_cell_means_equal_pillows_box_filter(grid):
    picture = pictures(1, 24, 48)
    ours = cell_means(picture.float(), grid)[0].permute(1, 2, 0)
    theirs = Image.fromarray(picture[0].permute(1, 2, 0).numpy()).resize(grid[::-1], Image.Resampling.BOX)
    np.testing.assert_allclose(ours.numpy(), np.asarray(theirs).astype(float), atol=1.01)  # Pillow rounds twice


def test_a_picture_does_not_depend_on_its_batch_mates():
    batch = pictures(5)
    together, alone = source("pixels")(batch, (12, 12)), source("pixels")(batch[3:4], (12, 12))
    torch.testing.assert_close(together[3], alone[0])


def test_a_dull_picture_gets_the_features_of_the_vivid_one():
    vivid = pictures(1)
    dull = (vivid.float() * 0.4 + 60).byte()
    a, b = (source("pixels")(x, (12, 12)) for x in (vivid, dull))
    assert torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1] > 0.99


def test_a_single_colour_leaves_position_alone():
    flat = torch.full((1, 3, 32, 32), 77, dtype=torch.uint8)
    x = source("pixels")(flat, (8, 8))[0]
    moving = x.flatten(0, 1).std(0) > 1e-3
    assert int(moving.sum()) == 2
    assert x.abs().max() < 10


def test_positions_are_centred_and_keep_the_proportions_of_the_grid():
    y, x = positions((10, 20))[0]
    assert abs(float(y.mean())) < 1e-6 and float(x.std()) == pytest.approx(1, abs=0.03)
    assert float(y[1, 0] - y[0, 0]) == pytest.approx(float(x[0, 1] - x[0, 0]))


def test_unknown_sources_and_wrong_pictures_are_named():
    with pytest.raises(SSegError, match="'nonsense'.*pixels"):
        source("nonsense")
    with pytest.raises(SSegError, match="uint8"):
        source("pixels")(torch.zeros(1, 3, 8, 8), (4, 4))
    with pytest.raises(SSegError, match="uint8"):
        source("pixels")(torch.zeros(3, 8, 8, dtype=torch.uint8), (4, 4))
