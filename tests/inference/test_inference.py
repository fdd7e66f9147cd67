"""Scores and labels: against plain loops, torch's own resize, and the properties that they promise."""

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sseg import inference


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def logits(queries=7, h=9, w=11, seed=0):
    return 4 * torch.randn(queries, h, w, generator=torch.Generator().manual_seed(seed))


def scores_of(masks, embeddings, texts, scale, combine="soft"):
    return inference.class_scores(inference.mask_weights(masks, combine), embeddings, texts, scale)


def test_scores_equal_the_formula_written_as_loops():
    masks, embeddings, texts, scale = logits(), unit(7, 5), unit(4, 5, seed=1), 9.0
    scores = scores_of(masks, embeddings, texts, scale)
    for y, x, c in [(0, 0, 0), (3, 4, 2), (8, 10, 3)]:
        weights = [1 / (1 + np.exp(-masks[n, y, x].item())) for n in range(7)]
        expected = 0.0
        for n in range(7):
            exponents = [np.exp(scale * float(embeddings[n] @ texts[p])) for p in range(4)]
            expected += weights[n] / max(1, sum(weights)) * exponents[c] / sum(exponents)
        assert scores[c, y, x].item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("combine", ["soft", "hard"])
def test_scores_are_probabilities(combine):
    scores = scores_of(logits() + 3, unit(7, 5), unit(4, 5, seed=1), 30.0, combine)
    assert scores.min() >= 0 and scores.sum(0).max() <= 1 + 1e-5


def test_contrast_measures_likely_phrases_against_their_best_place():
    scores = torch.tensor([[[0.64, 0.32]], [[0.4, 0.2]], [[1.0, 0.5]]])
    assert torch.equal(inference.contrast(scores, 0.0), scores)
    assert torch.allclose(inference.contrast(scores, 0.5)[:, 0], torch.tensor([[0.8, 0.4], [0.4, 0.2], [1.0, 0.5]]))
    full = inference.contrast(scores, 1.0)
    assert torch.allclose(full[0, 0], torch.tensor([1.0, 0.5])) and full.max() <= 1


def test_a_pixel_that_no_mask_claims_scores_near_zero():
    scores = scores_of(logits() - 40, unit(7, 5), unit(4, 5, seed=1), 9.0)
    assert scores.max() < 1e-6


def test_hard_masks_give_each_pixel_the_probabilities_of_its_best_mask():
    masks, embeddings, texts = logits(), unit(7, 5), unit(4, 5, seed=1)
    scores = scores_of(masks, embeddings, texts, 9.0, "hard")
    expected = (9.0 * embeddings @ texts.T).softmax(1)[masks.argmax(0)].permute(2, 0, 1)
    assert torch.allclose(scores, expected, atol=1e-6)


def test_the_order_of_masks_does_not_matter():
    masks, embeddings, texts, order = logits(), unit(7, 5), unit(4, 5, seed=1), torch.randperm(7)
    one = scores_of(masks, embeddings, texts, 9.0)
    other = scores_of(masks[order], embeddings[order], texts, 9.0)
    assert torch.allclose(one, other, atol=1e-6)


def test_synonyms_do_not_compete_and_the_nearest_wins():
    embeddings, texts = unit(7, 5), unit(4, 5, seed=1)
    groups = torch.tensor([0, 1, 1, 2])
    merged, nearest = inference.class_logits(embeddings, texts, 9.0, groups)
    alone = 9.0 * embeddings @ texts.T
    assert torch.allclose(merged[:, 1], alone[:, 1:3].amax(1), atol=1e-5)
    assert torch.equal(nearest[:, 1], 1 + alone[:, 1:3].argmax(1)) and (nearest[:, 2] == 3).all()
    twice, _ = inference.class_logits(embeddings, texts[[0, 1, 1, 3]], 9.0, groups)  # the same synonym once more
    assert torch.allclose(twice.softmax(1), alone[:, [0, 1, 3]].softmax(1), atol=1e-6)


SIZES = [(30, 50), (5, 4), (1, 1), (9, 11), (213, 97)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("smooth", [True, False])
def test_top_class_is_the_argmax_of_the_enlarged_scores(size, smooth, monkeypatch):
    monkeypatch.setattr("sseg.inference.upsampling._STRIP", 5000)  # several strips even here
    scores = torch.rand(40, 9, 11, generator=torch.Generator().manual_seed(1))
    if smooth:
        scores = scores_of(logits(12), unit(12, 5), unit(40, 5, seed=1), 30.0)
    best, value = inference.top_class(scores, size)
    enlarged = F.interpolate(scores[None], size=size, mode="bilinear")[0]
    assert best.shape == size and best.dtype == torch.int32 and value.dtype == torch.float32
    assert torch.allclose(value, enlarged.amax(0), atol=1e-6)
    reached = enlarged.gather(0, best[None].long())[0]  # ties may fall either way
    assert torch.allclose(reached, enlarged.amax(0), atol=1e-6)


def test_a_class_between_two_winners_is_kept():
    """Best nowhere on the coarse grid, yet best half-way between two samples."""
    scores = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]], [[0.6, 0.6]]])
    best, _ = inference.top_class(scores, (1, 9))
    assert best[0].tolist() == [0, 0, 0, 0, 2, 1, 1, 1, 1]


def test_of_equal_classes_the_first_is_taken():
    scores = torch.tensor([0.1, 0.4, 0.4, 0.2, 0.4]).view(5, 1, 1).expand(5, 6, 6)
    best, value = inference.top_class(scores, (20, 30))
    assert (best == 1).all() and torch.allclose(value, torch.tensor(0.4))


def test_contenders_are_the_classes_whose_greatest_reaches_every_least():
    scores = torch.rand(12, 5, 7, generator=torch.Generator().manual_seed(2))
    padded = F.pad(scores[None], (1, 1, 1, 1), mode="replicate")[0]
    for row, possible in enumerate(inference.contenders(scores).T):
        cells = padded[:, row : row + 2].unfold(2, 2, 1).transpose(1, 2).flatten(2)  # (C, w + 1, the four corners)
        expected = cells.amax(2) >= cells.amin(2).amax(0)
        assert torch.equal(possible, expected.any(1))


def test_classes_that_cannot_win_are_left_out():
    scores = torch.rand(3, 6, 6) * 0.1
    scores[1] += 0.5
    assert inference.contenders(scores).any(1).tolist() == [False, True, False]


@pytest.mark.parametrize("size", SIZES)
def test_the_value_at_a_pixel_is_that_of_the_enlarged_map(size):
    maps = torch.rand(3, 9, 11)
    enlarged = inference.upsample(maps, size)
    for x, y in [(0, 0), (size[1] - 1, size[0] - 1), (size[1] // 2, size[0] // 3)]:
        assert torch.allclose(inference.at_pixel(maps, x, y, size), enlarged[:, y, x], atol=1e-5)


@pytest.mark.parametrize("size", [(480, 640), (640, 480), (1, 1), (5000, 3), (224, 224), (100, 101)])
def test_target_size_keeps_the_long_side_and_the_stride(size):
    height, width = inference.target_size(*size, 224)
    assert max(height, width) == 224 and height % 32 == width % 32 == 0 and min(height, width) >= 32
    assert abs(height * size[1] - width * size[0]) <= 16 * max(size) or min(height, width) == 32


def test_prepare_normalises_and_keeps_flat_colour():
    image = np.full((50, 70, 3), (255, 0, 51), np.uint8)
    pixels = inference.normalise(inference.resize(image, (64, 96)), [0.5, 0.5, 0.1], [0.5, 0.25, 0.1])
    assert pixels.shape == (1, 3, 64, 96) and pixels.dtype == torch.float32
    assert torch.allclose(pixels[0, :, 10, 10], torch.tensor([1.0, -2.0, 1.0]), atol=1e-5)


def test_prepare_averages_when_it_shrinks():
    checker = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, 2)
    pixels = inference.normalise(inference.resize(checker, (32, 32)), [0.0] * 3, [1.0] * 3)
    assert torch.allclose(pixels, torch.full_like(pixels, 0.5), atol=0.02)  # without antialiasing: 0 or 1


def test_masks_evened_out_have_their_mean_everywhere_in_a_cluster():
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(3, 5, 7, generator=generator)
    clusters = torch.randint(0, 4, (5, 7), generator=generator)
    smooth = inference.smooth_masks(logits, clusters, 6).sigmoid()  # clusters 4 and 5 are empty
    for cluster in range(4):
        inside = clusters == cluster
        mean = logits.sigmoid()[:, inside].mean(1, keepdim=True)
        assert torch.allclose(smooth[:, inside], mean.expand(-1, int(inside.sum())), atol=1e-5)


@pytest.mark.parametrize("stride", [4, 8])
@pytest.mark.parametrize("size", [(64, 64), (96, 160), (128, 416), (64, 65)])
def test_windows_cover_the_picture_and_overlap(size, stride):
    side, seen = 64, np.zeros(size, int)
    for top, left in inference.windows(*size, side, stride):
        assert 0 <= top <= size[0] - side and 0 <= left <= size[1] - side and top % stride == left % stride == 0
        seen[top : top + side, left : left + side] += 1
    assert seen[: size[0] // 4 * 4, : size[1] // 4 * 4].min() >= 1
    lefts = sorted({left for _, left in inference.windows(*size, side)})
    assert all(b - a <= side // 2 for a, b in pairwise(lefts))


def test_assembled_masks_lie_where_their_window_was():
    corners = [(0, 0), (0, 32)]
    masks = torch.stack([torch.full((2, 16, 16), 1.0), torch.full((2, 16, 16), 2.0)])
    canvas = inference.assemble(masks, corners, (64, 96))
    assert canvas.shape == (4, 16, 24)
    assert (canvas[:2, :, :16] == 1).all() and (canvas[:2, :, 16:] == inference.OUTSIDE).all()
    assert (canvas[2:, :, 8:] == 2).all() and (canvas[2:, :, :8] == inference.OUTSIDE).all()
