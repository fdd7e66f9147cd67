"""Outlines that follow the picture: against the guided filter written out, and on borders that are known."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sseg import PseudoMasker, SSegError
from sseg.pseudo_masks.edges import FINE, RADIUS, SHARPNESS, colours, follow


def two_halves(height, width, border):
    """Left of a slanted border dark green, right of it light grey, with noise: uint8 (3, H, W), and which is right."""
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    right = x > border + 0.3 * y
    noise = np.random.default_rng(0).normal(0, 6, (height, width, 1))
    picture = np.where(right[..., None], (190, 190, 200), (30, 80, 40)) + noise
    return torch.from_numpy(picture.round().clip(0, 255).astype(np.uint8)).permute(2, 0, 1), right


def cells_of(mask, grid):  # (H, W) bool
    """The side that most of each cell lies on."""
    return (F.adaptive_avg_pool2d(torch.from_numpy(mask).float()[None], grid)[0] > 0.5).long()


def test_it_is_the_guided_filter_written_out():
    generator = torch.Generator().manual_seed(2)
    h, w, k = 5, 6, 3
    shades = torch.randint(0, 256, (3, FINE * h, FINE * w), generator=generator, dtype=torch.uint8)
    ids = torch.randint(0, k, (h, w), generator=generator)
    ids[0, 0] = k - 1
    guide = (shades.double() / 255).unflatten(1, (h, FINE)).unflatten(3, (w, FINE)).mean((2, 4)).numpy()  # (3, h, w)

    def windows(i, j):
        return [
            (a, b)
            for a in range(max(0, i - RADIUS), min(h, i + RADIUS + 1))
            for b in range(max(0, j - RADIUS), min(w, j + RADIUS + 1))
        ]

    lines = np.zeros((k, 4, h, w))
    for one in range(k):
        for i in range(h):
            for j in range(w):  # least squares of the mask on colour, slopes kept small (He, Sun, Tang 2013, eq. 14)
                x = np.array([guide[:, a, b] for a, b in windows(i, j)])
                y = np.array([float(ids[a, b] == one) for a, b in windows(i, j)])
                spread = (x - x.mean(0)).T @ (x - x.mean(0)) / len(x) + SHARPNESS * np.eye(3)
                slope = np.linalg.solve(spread, (x - x.mean(0)).T @ (y - y.mean()) / len(x))
                lines[one, :, i, j] = [*slope, y.mean() - slope @ x.mean(0)]
    smooth = np.zeros_like(lines)
    for i in range(h):
        for j in range(w):
            smooth[..., i, j] = np.mean([lines[..., a, b] for a, b in windows(i, j)], axis=0)
    smooth = F.interpolate(torch.from_numpy(smooth), scale_factor=FINE, mode="bilinear", align_corners=False).numpy()
    scores = (smooth[:, :3] * (shades.double().numpy() / 255)).sum(1) + smooth[:, 3]
    clear = np.sort(scores, 0)[-1] - np.sort(scores, 0)[-2] > 1e-4  # where rounding decides nothing
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(follow(ids, shades).numpy()[clear], scores.argmax(0)[clear])


def test_a_border_through_cells_is_found():
    picture, right = two_halves(160, 200, 70)
    grid = (20, 25)
    cells = cells_of(right, grid)
    found = follow(cells, colours(picture, grid))
    assert found.shape == (80, 100)
    truth = cells_of(right, (80, 100))
    before = cells.repeat_interleave(FINE, 0).repeat_interleave(FINE, 1)
    wrong = [(one != truth).float().mean() for one in (before, found)]
    assert wrong[0] >= 0.01 and wrong[1] < 0.002


def test_without_colours_a_straight_border_stays_where_it_was():
    cells = (torch.arange(12) >= 5).long().expand(9, 12)
    found = follow(cells, torch.full((3, 36, 48), 77, dtype=torch.uint8))
    assert torch.equal(found, cells.repeat_interleave(FINE, 0).repeat_interleave(FINE, 1))


def test_several_divisions_at_once_are_as_each_alone():
    picture, right = two_halves(96, 128, 40)
    shades = colours(picture, (12, 16))
    several = torch.stack([cells_of(right, (12, 16)), torch.arange(192).view(12, 16) % 5])
    assert torch.equal(follow(several, shades), torch.stack([follow(one, shades) for one in several]))


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (3, 2)])
def test_grids_narrower_than_a_window(shape):
    ids = torch.arange(shape[0] * shape[1]).view(shape) % 2
    assert follow(ids, colours(torch.zeros(3, 7, 9, dtype=torch.uint8), shape)).shape == (4 * shape[0], 4 * shape[1])


def test_pseudo_masks_with_such_outlines_fit_the_truth_better():
    picture, right = two_halves(256, 320, 120)
    masker, truth = PseudoMasker("pixels", device="cpu"), right.astype(np.uint8)
    image = picture.permute(1, 2, 0).numpy()
    cells, smooth = (masker(image, k=2, resolution=128, outlines=kind) for kind in ("cells", "picture"))
    np.testing.assert_array_equal(cells.ids, smooth.ids)  # the same clusters
    assert cells.clusters == smooth.clusters
    assert smooth.against(truth)["oracle_miou"] > 99 > 98 > cells.against(truth)["oracle_miou"]
    assert smooth.labels.shape == right.shape and smooth.to_json()["outlines"] == "picture"


def test_outlines_of_another_kind_are_refused():
    with pytest.raises(SSegError, match="cells or picture"):
        PseudoMasker("pixels", device="cpu")(np.zeros((64, 64, 3), np.uint8), outlines="crf")
