"""The materials look like what they are called, can be told apart, and are the same for the same seed."""

import json

import pytest
import torch

from sseg.paths import ASSETS
from train.data.stickers import materials
from train.data.stickers.noise import Noise, hsv

VARIANTS = 6
SIZE = 96


@pytest.fixture(scope="module")
def textures():
    return {name: materials.make(name, 1, VARIANTS, SIZE) for name in materials.NAMES}


def describe(pictures):
    """Mean and deviation of the colours, and how much neighbours differ at two scales: (v, 10)."""
    numbers = [pictures.mean((2, 3)), pictures.std((2, 3))]
    grey = pictures.mean(1)
    for scale in (1, 4):
        numbers.append((grey[:, scale:] - grey[:, :-scale]).abs().mean((1, 2))[:, None])
        numbers.append((grey[:, :, scale:] - grey[:, :, :-scale]).abs().mean((1, 2))[:, None])
    return torch.cat(numbers, 1)


def test_the_vocabulary_names_exactly_these_materials():
    named = json.loads((ASSETS / "stickers.json").read_text(encoding="utf-8"))["materials"]
    assert sorted(m["name"] for m in named) == sorted(materials.NAMES)
    assert len(materials.NAMES) >= 16


def test_textures_are_pictures_with_some_contrast(textures):
    for name, pictures in textures.items():
        assert pictures.shape == (VARIANTS, 3, SIZE, SIZE), name
        assert pictures.min() >= 0 and pictures.max() <= 1, name
        assert pictures.mean(1).std((1, 2)).min() > 0.01, f"{name} is flat"


def test_variants_of_a_material_differ(textures):
    for name, pictures in textures.items():
        apart = (pictures[:, None] - pictures[None]).abs().mean((2, 3, 4)) + torch.eye(VARIANTS)
        assert apart.min() > 0.01, name


def test_same_seed_same_textures_other_seed_others(textures):
    for name in ("grass", "marble", "forest"):
        assert torch.equal(materials.make(name, 1, VARIANTS, SIZE), textures[name])
        assert not torch.allclose(materials.make(name, 2, VARIANTS, SIZE), textures[name], atol=0.05)


def test_materials_can_be_told_apart_by_simple_statistics(textures):
    known = torch.cat([describe(p) for p in textures.values()])
    fresh = torch.cat([describe(materials.make(name, 2, 3, SIZE)) for name in materials.NAMES])
    scale = known.std(0)
    nearest = torch.cdist(fresh / scale, known / scale).argmin(1) // VARIANTS
    truth = torch.arange(len(materials.NAMES)).repeat_interleave(3)
    assert (nearest == truth).float().mean() > 0.75  # by chance 0.05


def test_colour_alone_does_not_tell_materials_apart(textures):
    """Otherwise a model could name materials without looking at their texture."""

    def histogram(pictures):
        bins = (pictures * 4.999).long().permute(0, 2, 3, 1).reshape(-1, 3) @ torch.tensor([25, 5, 1])
        return torch.bincount(bins, minlength=125) / len(bins)

    for one, other in (("sky", "water"), ("grass", "forest"), ("stone wall", "gravel"), ("snow", "marble")):
        shared = torch.minimum(histogram(textures[one]), histogram(textures[other])).sum()
        assert shared > 0.1, (one, other, shared)


def test_materials_have_their_natural_colours(textures):
    red, green, blue = torch.stack([p.mean((0, 2, 3)) for p in textures.values()], 1)
    mean = {name: (r, g, b) for name, r, g, b in zip(textures, red, green, blue, strict=True)}
    for name in ("grass", "forest"):
        assert mean[name][1] > max(mean[name][0], mean[name][2]), name
    for name in ("sky", "night sky", "water"):
        assert mean[name][2] > mean[name][0], name
    for name in ("sand", "wheat field", "lava", "dry leaves", "wooden floor", "brick wall", "sunset"):
        assert mean[name][0] > mean[name][2], name
    assert min(mean["snow"]) > 0.75 and max(mean["night sky"]) < 0.35
    assert max(mean["road"]) - min(mean["road"]) < 0.1


def test_the_sky_is_paler_at_the_horizon(textures):
    saturation = textures["sky"].amax(1) - textures["sky"].amin(1)
    assert saturation[:, : SIZE // 4].mean() > saturation[:, -SIZE // 4 :].mean()


def test_bank_rows_are_material_times_variants_and_levels_halve():
    names = ("sky", "marble")
    bank = materials.TextureBank(3, variants=2, size=64, names=names)
    assert [tuple(level.shape) for level in bank.levels] == [(4, 3, 64, 64), (4, 3, 32, 32), (4, 3, 16, 16)]
    marble = (materials.make("marble", 3, 2, 64) * 255).round().to(torch.uint8)
    assert torch.equal(bank.levels[0][2:], marble)
    assert (bank.levels[2].float().mean((2, 3)) - bank.levels[0].float().mean((2, 3))).abs().max() < 1


def test_noise_is_standardised_and_stretched():
    field = Noise(0, 128).fbm(3, 6, stretch=6)
    assert field.mean((1, 2)).abs().max() < 1e-4 and (field.std((1, 2)) - 1).abs().max() < 1e-3
    along_y = (field[:, 1:] - field[:, :-1]).abs().mean()
    along_x = (field[:, :, 1:] - field[:, :, :-1]).abs().mean()
    assert along_y > 2 * along_x


def test_worley_distances_equal_brute_force():
    noise = Noise(0, 40)
    first, second, owner = noise.worley(1, 5, 4, 0.8)
    points = owner.cells.points[0].clone()  # (2, 20) inside their cells
    column, row = torch.arange(20) % 4, torch.arange(20) // 4
    x, y = noise.x.flatten() * 4, noise.y.flatten() * 5
    dx = x[:, None] - (points[0] + column)
    dy = y[:, None] - (points[1] + row)
    dx, dy = dx - 4 * (dx / 4).round(), dy - 5 * (dy / 5).round()  # the grid repeats
    expected = torch.hypot(dx, dy).sort(1)
    assert torch.allclose(first.flatten(), expected.values[:, 0], atol=1e-4)
    assert torch.equal(owner.at.flatten(), expected.indices[:, 0])
    assert torch.allclose(torch.hypot(owner.dx, owner.dy), first, atol=1e-4)
    assert (second >= first).all()


def test_hsv_equals_colorsys():
    import colorsys

    h, s, v = torch.rand(3, 50, generator=torch.Generator().manual_seed(0))
    expected = [colorsys.hsv_to_rgb(*map(float, c)) for c in zip(h, s, v, strict=True)]
    assert torch.allclose(hsv(h, s, v), torch.tensor(expected), atol=1e-5)
    assert torch.allclose(hsv(h + 1, s, v), hsv(h, s, v), atol=1e-5)
