"""Self-distillation: views meet at the right places, losses are what they say, what a run leaves loads."""

import json

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from sseg.models.small_vit import SmallViT
from train import distill
from train.data.stickers.scenes import Difficulty
from train.data.views import Views, collage, in_patches
from train.recipe.features import DistillImages, DistillStage, Windows


def windows(n=3, seed=0):
    """Random windows of pictures, some flipped."""
    g = torch.Generator().manual_seed(seed)
    scale = 0.3 + 0.4 * torch.rand(n, 2, generator=g)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = scale[:, 0] * torch.tensor([1, -1, 1]), scale[:, 1]
    theta[:, :, 2] = 0.3 * (2 * torch.rand(n, 2, generator=g) - 1)
    return theta


def test_patches_are_near_as_they_lie_in_the_picture():
    here, there = windows(seed=1), windows(seed=2)
    centres = [F.affine_grid(theta, [3, 1, 7, 5], align_corners=False) for theta in (here, there)]
    found = distill.near(here, there, (7, 5), (7, 5), 0.2)
    for i, a, b in ((0, (0, 0), (6, 4)), (1, (3, 2), (3, 2)), (2, (5, 1), (2, 4))):
        distance = (centres[0][i, a[0], a[1]] - centres[1][i, b[0], b[1]]).norm()
        expected = torch.exp(-(distance**2) / (2 * 0.2**2))
        torch.testing.assert_close(found[i, a[0] * 5 + a[1], b[0] * 5 + b[1]], expected, atol=1e-5, rtol=1e-3)


def test_sinkhorn_uses_all_prototypes_equally_and_keeps_what_is_preferred():
    scores = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    scores[:, 0] += 5  # what all would take
    found = distill.sinkhorn(scores / 0.5, 50)
    torch.testing.assert_close(found.sum(1), torch.ones(64))
    torch.testing.assert_close(found.sum(0), torch.full((8,), 8.0), rtol=0.01, atol=0)
    assert torch.corrcoef(torch.stack([found[:, 3], scores[:, 3]]))[0, 1] > 0.5


def test_pieces_hold_other_pictures_and_are_where_they_are_said_to_be():
    pixels = torch.arange(6.0)[:, None, None, None].expand(6, 3, 64, 64)  # picture i is of one value, i
    canvas, ids = collage(pixels, 3, torch.Generator().manual_seed(4))
    assert 0.1 < (ids > 0).float().mean() < 0.8 and int(ids.max()) == 3
    assert torch.equal(canvas[:, 0][ids == 0], pixels[:, 0][ids == 0])
    for picture in range(6):
        for number in range(1, 4):
            values = canvas[picture, 0][ids[picture] == number].round().unique()
            assert len(values) <= 1 and picture not in values.tolist()


def test_a_patch_belongs_to_a_piece_that_fills_most_of_it():
    ids = torch.zeros(1, 1, 16, 16, dtype=torch.long)
    ids[..., :8, 8:], ids[..., 8:, :2], ids[..., 8:, 8:12] = 2, 1, 1
    assert in_patches(ids).tolist() == [[[0, 2], [0, -1]]]


def nearness(angle, piece=0, closeness=1.0):
    """Loss of one patch and two others, itself turned by `angle`, and one at a right angle, of piece 1."""
    turn = torch.tensor(angle)
    a = torch.tensor([1.0, 0, 0]).view(1, 1, 1, 3)
    b = torch.stack([torch.stack([turn.cos(), turn.sin(), turn * 0]), torch.tensor([0.0, 0, 1])]).view(1, 1, 2, 3)
    close = torch.tensor([[[closeness, 1.0]]])
    return float(distill.near_contrast(a, b, close, torch.tensor([[[piece]]]), torch.tensor([[[0, 1]]]), 0.5, 1))


def test_near_patches_of_a_piece_should_be_alike_and_those_of_others_not():
    expected = -torch.log_softmax(torch.tensor([1.0, 0.0]) / 0.5, 0)[0]
    assert nearness(0.0) == pytest.approx(float(expected), abs=1e-5)
    assert nearness(0.0) < nearness(0.7) < nearness(1.5)
    assert nearness(0.7, closeness=0.1) == 0  # too far to count, although of the same piece
    assert nearness(0.7, piece=-1) == 0  # a patch of several pieces


@pytest.mark.font
def test_views_are_a_function_of_the_seed_and_hold_the_picture_at_their_window(emoji_font):
    pictures = Views(DistillImages(size=64, photographs=None, stickers=1.0), 0, "cpu")
    large, small = Windows(count=2, size=32, area=(0.4, 1.0)), Windows(count=1, size=16, area=(0.1, 0.3))
    difficulty = Difficulty((1, 2), (0.3, 0.8), (1, 2))
    stage = DistillStage(steps=1, batch=4, large=large, small=small, pieces=2, difficulty=difficulty)
    first, again, other = (pictures.views(seed, 4, stage, 1.0) for seed in (5, 5, 6))
    assert [tuple(view.pixels.shape) for view in first] == [(4, 3, 32, 32)] * 2 + [(4, 3, 16, 16)]
    for one, two, three in zip(first, again, other, strict=True):
        assert torch.equal(one.pixels, two.pixels) and torch.equal(one.pieces, two.pieces)
        assert not torch.equal(one.pixels, three.pixels)
    plain = pictures.views(5, 4, stage, 0.0)[:2]  # of unchanged colours; where both views look, they see the same
    a, b = (F.interpolate(view.pixels, 8, mode="area") for view in plain)
    close = distill.near(plain[0].theta, plain[1].theta, (8, 8), (8, 8), 0.05)  # (4, 64, 64)
    score, nearest = close.max(2)
    seen = b.flatten(2).gather(2, nearest[:, None].expand(-1, 3, -1))
    error, spread = (seen - a.flatten(2)).abs().mean(1), (a - a.mean((2, 3), keepdim=True)).abs().mean((1, 2, 3))
    assert int((score > 0.5).sum()) > 20
    assert error[score > 0.5].mean() < 0.6 * spread.mean()


def test_what_a_run_leaves_is_a_network(unbroken):
    network = SmallViT(**json.loads((unbroken("distill") / "config.json").read_text()))
    network.load_state_dict(load_file(unbroken("distill") / "model.safetensors"))
    tokens, view = network.eval()(torch.zeros(2, 3, 40, 64))
    assert tokens.shape == (2, 5, 8, 8) and view.shape == (2, 8)


def test_plain_and_fused_attention_agree():
    network, x = SmallViT(16, 2, 2), torch.randn(2, 3, 48, 32, generator=torch.Generator().manual_seed(0))
    fused = network.eval()(x)[0]
    for block in network.blocks:
        block.train()
    torch.testing.assert_close(network(x)[0], fused)
