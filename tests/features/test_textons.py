"""The features `textons`: how the dictionary is learned, what it responds to, and what the features tell apart."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from sseg.errors import SSegError
from sseg.features.pixels import PixelFeatures
from sseg.features.textons import Dictionary, TextonFeatures, main_directions, responses
from sseg.paths import WEIGHTS
from sseg.pseudo_masks.generate import pseudo_masks
from train import textons
from train.recipe.features import Dictionary as TextonRecipe

SIZES = [((12, 12), (48, 48)), ((7, 13), (50, 41)), ((20, 24), (33, 90)), ((1, 1), (9, 9)), ((2, 40), (64, 500))]


def noise_pictures(count=6, seed=0, size=(40, 48)):
    """Coloured noise, blurred by different amounts: something to learn from."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(size[0] // f, size[1] // f) for f in (1, 2, 4)]
    coarse = [torch.rand(1, 3, *shapes[i % 3], generator=generator) for i in range(count)]
    return [(torch.nn.functional.interpolate(c, size, mode="bicubic").clamp(0, 1) * 255).byte()[0] for c in coarse]


def small(**changes):
    sizes = {"patches": 50, "side": 6, "floor": 10.0, "ridge": 0.1, "centres": 16, "colours": 8}
    return TextonRecipe(**sizes | changes)


def stripes_beside_checks(side=160):
    """Left half: fine vertical stripes; right half: broad horizontal ones. One mean colour, one spread of colours."""
    column, row = torch.arange(side)[None], torch.arange(side)[:, None]
    left = (column // 2 % 2).expand(side, side)
    right = (row // 8 % 2).expand(side, side)
    picture = torch.where(column < side // 2, left, right)
    return (90 + 70 * picture).byte().expand(1, 3, side, side).contiguous()


def halves_found(source, k=2):
    """How well K-Means finds the two halves, as the share of cells on the right side."""
    clusters = pseudo_masks(stripes_beside_checks(), source, k, (20, 20), seeds=0)[0]
    left = (torch.arange(20) < 10).expand(20, 20)
    right_way = ((clusters == 1) == left).float().mean()
    return float(torch.maximum(right_way, 1 - right_way))


def test_learning_repeats_from_its_seed_and_another_seed_learns_another():
    one, again, other = (textons.learn(iter(noise_pictures()), small(), seed)[0] for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not torch.allclose(one.filters, other.filters)


@pytest.mark.parametrize("side", [5, 6])
def test_one_convolution_gives_the_distances_to_the_whitened_centres(side):
    """Against the definition: normalise each patch, whiten it, measure its distance to every centre."""
    generator = torch.Generator().manual_seed(1)
    d = 3 * side * side
    centres, mean = torch.randn(7, d, generator=generator), torch.randn(d, generator=generator) / 10
    whiten = torch.randn(d, d, generator=generator) / d**0.5
    dictionary = Dictionary(**textons.fold(centres, mean, whiten, side, 10.0), colours=torch.zeros(1, 3))
    picture = noise_pictures(1)[0].float()[None]
    found = responses(picture, dictionary, 3)[0]
    top, left = 4, 7  # of the responses; the padding in front is (side - 1) // 2
    y, x = 3 * top - (side - 1) // 2, 3 * left - (side - 1) // 2
    patch = picture[0, :, y : y + side, x : x + side].reshape(1, d)
    z = (textons.contrast_normalised(patch, 10.0) - mean) @ whiten
    squares = torch.cdist(z, centres)[0].square()
    torch.testing.assert_close(found[:, top, left], (squares.mean() - squares).relu(), rtol=1e-3, atol=1e-3)


def test_whitening_makes_the_strong_axes_of_patches_equal():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5000, 4, generator=generator) * torch.tensor([10.0, 3.0, 1.0, 0.01]) + 5
    mean, whiten = textons.whitening(x, 0.1)
    spread = ((x - mean) @ whiten).var(0)
    expected = torch.tensor([100 / 100.1, 9 / 9.1, 1 / 1.1, 0.001])
    torch.testing.assert_close(spread, expected, rtol=0.1, atol=0.01)


def test_two_textures_of_one_mean_colour_come_apart_where_colour_sees_nothing():
    without_place = {"position": 0.0}
    assert halves_found(TextonFeatures(**without_place)) > 0.93
    assert halves_found(PixelFeatures(**without_place)) < 0.8


@pytest.mark.parametrize(("grid", "size"), SIZES)
def test_any_grid_on_any_size_gives_finite_float32(grid, size):
    pixels = torch.stack(noise_pictures(2, size=size)) if min(size) >= 12 else torch.zeros(2, 3, *size).byte()
    x = TextonFeatures()(pixels, grid)
    assert x.shape[:3] == (2, *grid) and x.dtype == torch.float32 and torch.isfinite(x).all()


def test_a_single_colour_leaves_position_alone():
    x = TextonFeatures()(torch.full((1, 3, 32, 32), 77, dtype=torch.uint8), (8, 8))[0]
    assert int((x.flatten(0, 1).std(0) > 1e-2).sum()) == 2 and x.abs().max() < 10


def test_a_picture_does_not_depend_on_its_batch_mates():
    """Distances between cells are what K-Means sees."""
    batch = torch.stack(noise_pictures(5, size=(96, 96)))
    source = TextonFeatures()
    together, alone = source(batch, (12, 12))[3].flatten(0, 1), source(batch[3:4], (12, 12))[0].flatten(0, 1)
    torch.testing.assert_close(torch.cdist(together, together), torch.cdist(alone, alone), rtol=1e-3, atol=1e-3)


def test_main_directions_are_those_of_the_singular_value_decomposition_with_weak_ones_strengthened():
    planes = torch.randn(1, 6, 9, 11, generator=torch.Generator().manual_seed(0))
    planes *= torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0, 0.5])[:, None, None]
    found = main_directions(planes, 3, 0.1)[0].flatten(1)
    x = planes[0].flatten(1) - planes[0].flatten(1).mean(1, keepdim=True)
    _, strengths, rows = torch.linalg.svd(x, full_matrices=False)
    expected = rows[:3] * strengths[:3, None].sqrt()
    expected *= (x.shape[1] / expected.square().sum()) ** 0.5
    torch.testing.assert_close((found * expected).sum(1).abs(), expected.square().sum(1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.square().mean(1).sum(), torch.tensor(1.0))


def test_directions_that_a_picture_lacks_are_zero():
    planes = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    found = main_directions(planes, 5, 0.1)
    assert found.shape == (2, 5, 8, 8) and not found[:, 3:].any() and found[:, :3].flatten(2).std(2).min() > 0.1


def test_the_bundled_dictionary_is_small_and_says_what_it_is():
    folder = WEIGHTS / "textons"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 200_000
    assert json.loads((folder / "config.json").read_text())["model_type"] == "textons"
    assert {"recipe.yaml", "README.md"} <= {path.name for path in folder.iterdir()}


def missing(folder):
    (folder / "model.safetensors").unlink()


def cut_off(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])


def another_model(folder):
    save_file({"weight": torch.zeros(3)}, folder / "model.safetensors")


def not_finite(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors["filters"][0, 0, 0, 0] = float("nan")
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize("damage", [missing, cut_off, another_model, not_finite])
def test_a_dictionary_that_cannot_be_used_is_one_sentence(damage, tmp_path):
    folder = tmp_path / "textons"
    shutil.copytree(WEIGHTS / "textons", folder)
    damage(folder)
    with pytest.raises(SSegError, match="texton dictionary") as caught:
        TextonFeatures(folder)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.font
def test_the_command_learns_from_stickers_alone_and_its_dictionary_can_be_used(tmp_path, capsys):
    out = tmp_path / "run"
    changes = ["data.photographs=0", "data.stickers=6", "data.size=64", "dictionary.centres=16", "dictionary.colours=8"]
    assert textons.main(["train/recipes/textons.yaml", f"out={out}", *changes]) == 0
    assert "6 of 6 pictures" in capsys.readouterr().err
    assert {path.name for path in out.iterdir()} == {"model.safetensors", "config.json", "recipe.yaml", "README.md"}
    x = TextonFeatures(out)(torch.stack(noise_pictures(2, size=(64, 64))), (8, 8))
    assert torch.isfinite(x).all()


def test_the_command_says_in_one_sentence_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SSEG_DATA", str(tmp_path))
    assert textons.main(["train/recipes/textons.yaml", f"out={tmp_path / 'run'}"]) == 2
    error = capsys.readouterr().err
    assert str(tmp_path / "pairs") in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_patches_are_cut_where_the_picture_has_them():
    picture = torch.arange(3 * 9 * 8).view(3, 9, 8)
    cut = textons.random_patches(picture, 20, 6, torch.Generator().manual_seed(0)).view(20, 3, 6, 6)
    places = {picture[0, y, x].item(): picture[:, y : y + 6, x : x + 6] for y in range(4) for x in range(3)}
    for patch in cut:
        assert torch.equal(patch.long(), places[int(patch[0, 0, 0])])
    assert len({int(patch[0, 0, 0]) for patch in cut}) > 5


def test_dictionary_has_the_shapes_that_it_promises():
    dictionary, count = textons.learn(iter(noise_pictures()), small(), 0)
    assert isinstance(dictionary, Dictionary) and count == 300
    assert dictionary.filters.shape == (16, 3, 6, 6) and dictionary.offsets.shape == (16,)
    assert dictionary.colours.shape == (8, 3)
