import numpy as np
import pytest
import torch

from sseg.features.random_walk import KEYS, at_border, diffused


def walk(x, width, steps):
    """The same in the plainest words: x (T, d) in double precision."""
    x = x.astype(np.float64)
    distances = ((x[:, None] - x[None]) ** 2).sum(2)
    affinity = np.exp(-distances / (width * distances.mean()))
    affinity /= affinity.sum(1, keepdims=True)
    return np.linalg.matrix_power(affinity, steps) @ (x - x.mean(0))


@pytest.mark.parametrize(("width", "steps"), [(0.1, 1), (0.1, 3), (0.5, 2)])
def test_it_is_a_random_walk_on_the_graph_of_cells(width, steps):
    features = torch.randn(2, 6, 9, 5, generator=torch.Generator().manual_seed(0))
    found = diffused(features, width, steps, ground=0)
    for one, features_of_one in zip(found, features, strict=True):
        expected = walk(features_of_one.flatten(0, 1).numpy(), width, steps)
        assert one.flatten(0, 1).numpy() == pytest.approx(expected, abs=1e-4)


def test_groups_draw_together_and_stay_apart():
    generator = torch.Generator().manual_seed(0)
    centres = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    groups = torch.arange(20 * 30) % 3
    cells = centres[groups] + 0.6 * torch.randn(600, 2, generator=generator)
    found = diffused(cells.view(1, 20, 30, 2)).flatten(0, 2)

    def spread_over_distance(x):
        means = torch.stack([x[groups == i].mean(0) for i in range(3)])
        return float((x - means[groups]).norm(dim=1).mean() / torch.cdist(means, means)[0, 1:].mean())

    assert spread_over_distance(found) < 0.3 * spread_over_distance(cells)


def test_a_fine_grid_spreads_from_fewer_cells_to_nearly_the_same():
    side = 2 * int(KEYS**0.5)
    line = torch.linspace(-1, 1, side)
    smooth = torch.stack([line.sin().expand(side, side), line[:, None].cos().expand(side, side)], 2)[None]
    found = diffused(smooth, ground=0)
    expected = walk(smooth[0, ::2, ::2].flatten(0, 1).numpy(), 0.1, 3)
    difference = found[0, ::2, ::2].flatten(0, 1).numpy() - expected
    assert np.abs(difference - difference.mean(0)).max() < 0.05 * np.abs(expected).max()


def test_what_is_alike_to_the_border_is_drawn_together_and_things_are_not():
    """Two grounds that reach the border, two things that do not: as far from one another before, not after."""
    cells = torch.zeros(1, 24, 24, 4)
    cells[:, :12, :, 0], cells[:, 12:, :, 1] = 1, 1
    for rows, channel in ((slice(4, 9), 2), (slice(15, 20), 3)):
        cells[:, rows, 8:16] = 0
        cells[:, rows, 8:16, channel] = 1
    plain, found = diffused(cells, ground=0)[0], diffused(cells)[0]

    def ratio(x):
        return float((x[6, 12] - x[17, 12]).norm() / (x[0, 0] - x[-1, 0]).norm())

    assert ratio(plain) == pytest.approx(1, abs=0.02)
    assert ratio(found) > 1.5


def test_the_border_of_a_picture_is_what_has_no_neighbour_on_some_side():
    found = at_border(torch.zeros(2, 4, 5, 3)).view(2, 4, 5)
    assert float(found.mean()) == pytest.approx(1)
    assert (found[0] > 0).tolist() == [[True] * 5, [True, *[False] * 3, True], [True, *[False] * 3, True], [True] * 5]


@pytest.mark.parametrize("grid", [(1, 1), (1, 5000), (3000, 2), (128, 128)])
def test_any_grid_stays_finite(grid):
    found = diffused(torch.randn(1, *grid, 3, generator=torch.Generator().manual_seed(0)))
    assert found.shape == (1, *grid, 3) and found.isfinite().all()


def test_cells_that_are_all_the_same_become_0():
    assert diffused(torch.full((2, 4, 4, 3), 7.0)).abs().max() == 0


def test_a_picture_does_not_depend_on_those_beside_it():
    features = torch.randn(40, 28, 28, 8, generator=torch.Generator().manual_seed(0))
    assert diffused(features)[17].numpy() == pytest.approx(diffused(features[17:18])[0].numpy(), abs=1e-5)
