"""The losses against transformers' own forms, a loop, and by what must not change them."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers.models.maskformer.modeling_maskformer import dice_loss, pair_wise_dice_loss, sigmoid_focal_loss

from train.losses import (
    contrastive_loss,
    mask_loss,
    matched,
    one_hot_masks,
    pairwise_dice,
    pairwise_focal,
    phrase_loss,
    region_similarity,
)
from train.matcher import NO_TARGET, match


def random_case(d=2, b=3, n=6, k=4, side=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(d, b, n, side, side, generator=generator) * 2
    return logits, torch.randint(0, k, (b, side, side), generator=generator)


def test_pairwise_dice_equals_maskformers():
    logits, ids = random_case()
    targets = one_hot_masks(ids, 4)
    ours = pairwise_dice(logits[0, 0].flatten(1), targets[0])
    assert torch.allclose(ours, pair_wise_dice_loss(logits[0, 0].flatten(1), targets[0]), atol=1e-5)


def test_pairwise_focal_equals_maskformers_loss_on_every_pair():
    logits, ids = random_case()
    logits, targets = logits[0, 0].flatten(1), one_hot_masks(ids, 4)[0]
    ours = pairwise_focal(logits, targets)
    for n, k in itertools.product(range(6), range(4)):
        theirs = sigmoid_focal_loss(logits[n : n + 1], targets[k : k + 1], num_masks=1)
        assert ours[n, k].item() == pytest.approx(theirs.item(), abs=1e-5)


def test_match_finds_the_brute_force_optimum():
    generator = torch.Generator().manual_seed(1)
    cost = torch.rand(2, 3, 5, 3, generator=generator)
    queries = match(cost, torch.ones(3, 3, dtype=torch.bool))
    for layer, image in itertools.product(range(2), range(3)):
        c = cost[layer, image].numpy()
        best = min(sum(c[q, k] for k, q in enumerate(perm)) for perm in itertools.permutations(range(5), 3))
        ours = sum(c[q, k] for k, q in enumerate(queries[layer, image].tolist()))
        assert ours == pytest.approx(best, abs=1e-6)
        assert len(set(queries[layer, image].tolist())) == 3


def test_match_leaves_empty_clusters_alone():
    cost = torch.tensor([[0.0, 5.0], [0.0, 1.0], [0.0, 2.0]]).expand(1, 1, 3, 2)
    queries = match(cost, torch.tensor([[False, True]]))
    assert queries.tolist() == [[[NO_TARGET, 1]]]


def test_mask_loss_equals_a_loop_over_images_with_maskformers_losses():
    logits, ids = random_case()
    result = mask_loss(logits, ids, 4)
    dice = focal = count = 0
    for image in range(3):
        targets = one_hot_masks(ids, 4)[image]
        count += int(targets.any(-1).sum())
        for layer in range(2):
            masks = logits[layer, image].flatten(1)
            cost = pairwise_dice(masks, targets) + 20 * pairwise_focal(masks, targets)
            order = min(itertools.permutations(range(6), 4), key=lambda p: sum(cost[q, k] for k, q in enumerate(p)))
            dice += dice_loss(masks[list(order)], targets, num_masks=1)
            focal += sigmoid_focal_loss(masks[list(order)], targets, num_masks=1)
    assert result.dice.item() == pytest.approx((dice / count).item(), rel=1e-4)
    assert result.focal.item() == pytest.approx((focal / count).item(), rel=1e-4)


def test_mask_loss_does_not_depend_on_the_order_of_queries():
    logits, ids = random_case()
    order = torch.randperm(6, generator=torch.Generator().manual_seed(3))
    one, other = mask_loss(logits, ids, 4), mask_loss(logits[:, :, order], ids, 4)
    assert torch.allclose(one.dice, other.dice, atol=1e-6) and torch.allclose(one.focal, other.focal, atol=1e-6)


def test_fewer_clusters_than_k_cost_the_same_as_asking_for_fewer():
    logits, ids = random_case(k=3)
    assert torch.allclose(mask_loss(logits, ids, 3).dice, mask_loss(logits, ids, 8 - 2).dice, atol=1e-6)
    assert (mask_loss(logits, ids, 6).queries[:, 3:] == NO_TARGET).all()


def test_unmatched_masks_get_no_gradient():
    logits, ids = random_case(d=1)
    logits.requires_grad_(True)
    result = mask_loss(logits, ids, 4)
    (result.dice + result.focal).backward()
    for image in range(3):
        touched = logits.grad[0, image].abs().sum((1, 2)) > 0
        assert set(touched.nonzero().flatten().tolist()) == set(result.queries[image].tolist())


def test_perfect_masks_cost_almost_nothing():
    _, ids = random_case(k=4)
    logits = (one_hot_masks(ids, 4) * 40 - 20).view(1, 3, 4, 8, 8)
    result = mask_loss(logits, ids, 4)
    assert result.dice.item() < 1e-3 and result.focal.item() < 1e-6


def test_contrastive_loss_equals_numpy_and_is_symmetric():
    similarity = torch.randn(5, 5, generator=torch.Generator().manual_seed(4))
    s = similarity.numpy() * 7.0
    log_p = s - np.log(np.exp(s).sum(1, keepdims=True))
    log_q = s - np.log(np.exp(s).sum(0, keepdims=True))
    expected = -(np.diag(log_p).mean() + np.diag(log_q).mean()) / 2
    assert contrastive_loss(similarity, torch.tensor(7.0)).item() == pytest.approx(expected, rel=1e-5)
    assert torch.allclose(contrastive_loss(similarity, 7.0), contrastive_loss(similarity.T, 7.0))


@pytest.mark.parametrize("pooling", ["mean", "softmax"])
def test_region_similarity_ignores_the_order_of_regions_and_is_a_cosine_for_equal_regions(pooling):
    generator = torch.Generator().manual_seed(5)
    masks = F.normalize(torch.randn(3, 4, 8, generator=generator), dim=-1)
    texts = F.normalize(torch.randn(6, 8, generator=generator), dim=-1)
    one = region_similarity(masks, texts, pooling)
    assert torch.allclose(one, region_similarity(masks.flip(1), texts, pooling), atol=1e-6)
    equal = masks[:, :1].expand(-1, 4, -1)
    assert torch.allclose(region_similarity(equal, texts, pooling), masks[:, 0] @ texts.T, atol=1e-5)


def test_soft_maximum_lies_between_mean_and_maximum_of_the_cosines():
    generator = torch.Generator().manual_seed(6)
    masks = F.normalize(torch.randn(3, 4, 8, generator=generator), dim=-1)
    texts = F.normalize(torch.randn(6, 8, generator=generator), dim=-1)
    cosines = torch.einsum("bne,pe->bnp", masks, texts)
    soft = region_similarity(masks, texts, "softmax", 10.0)
    assert (soft <= cosines.amax(1) + 1e-6).all() and (soft >= cosines.mean(1) - 1e-6).all()


@pytest.mark.parametrize("pooling", ["mean", "softmax"])
def test_regions_that_do_not_count_do_not_matter(pooling):
    generator = torch.Generator().manual_seed(7)
    masks = F.normalize(torch.randn(2, 4, 8, generator=generator), dim=-1)
    texts = F.normalize(torch.randn(3, 8, generator=generator), dim=-1)
    counted = matched(torch.tensor([[0, 2, NO_TARGET], [2, 0, NO_TARGET]]), 4)
    assert counted.tolist() == [[True, False, True, False]] * 2
    part = region_similarity(masks[:, [0, 2]], texts, pooling)
    assert torch.allclose(region_similarity(masks, texts, pooling, counted=counted), part, atol=1e-6)


def test_a_single_region_is_its_cosine():
    """What `pooling: feature_mean` uses: one vector a picture, as in the paper."""
    image, texts = (F.normalize(torch.randn(2, 8), dim=-1) for _ in range(2))
    assert torch.allclose(region_similarity(image[:, None], texts, "feature_mean"), image @ texts.T, atol=1e-5)


def phrase_loss_by_loops(regions, texts, phrases, owned, scale, distractors=()):
    """The same as sums of probabilities, over the distinct phrases; distractors take their part of each region's."""
    distinct = list(dict.fromkeys(phrases.tolist()))
    texts = [texts[phrases.tolist().index(number)] for number in distinct]
    power = [[[math.exp(scale * float(region @ text)) for text in texts] for region in own] for own in regions]
    pictures, columns = range(len(regions)), range(len(distinct))
    taken = [[sum(math.exp(scale * float(region @ text)) for text in distractors) for region in own] for own in regions]
    naming = [
        -math.log(sum(row[p] / (sum(row) + more) for row, more in zip(power[b], taken[b], strict=True)) / len(power[b]))
        for b in pictures for p in columns if distinct[p] in owned[b].tolist()
    ]  # fmt: skip
    placing = []
    for p in columns:
        mass = [sum(row[p] for row in power[b]) for b in pictures]
        own = sum(mass[b] for b in pictures if distinct[p] in owned[b].tolist())
        placing.append(-math.log(own / sum(mass)))
    return (sum(naming) / len(naming) + sum(placing) / len(placing)) / 2


def phrase_case(seed=0):
    generator = torch.Generator().manual_seed(seed)
    phrases = torch.tensor([5, 7, 5, 9, 7, 5])
    owned = torch.tensor([[5, 7, -1], [5, 9, -1], [7, 5, 8]])
    regions = F.normalize(torch.randn(3, 4, 8, generator=generator), dim=-1)
    texts = F.normalize(torch.randn(10, 8, generator=generator), dim=-1)[phrases]  # the same text, the same embedding
    return regions, texts, phrases, owned


@pytest.mark.parametrize("seed", range(3))
def test_phrase_loss_equals_loops(seed):
    case = phrase_case(seed)
    found = phrase_loss(*case, torch.tensor(3.0))
    assert found.item() == pytest.approx(phrase_loss_by_loops(*case, 3.0), rel=1e-5)


def test_phrase_loss_lets_known_phrases_compete_that_nobody_drew():
    case, more = phrase_case(), F.normalize(torch.randn(6, 8, generator=torch.Generator().manual_seed(9)), dim=-1)
    found = phrase_loss(*case, torch.tensor(3.0), distractors=more)
    assert found.item() == pytest.approx(phrase_loss_by_loops(*case, 3.0, more), rel=1e-5)
    assert found > phrase_loss(*case, torch.tensor(3.0))


def test_phrase_loss_counts_a_repeated_phrase_once():
    regions, texts, phrases, owned = phrase_case()
    once = torch.tensor([0, 1, 3])
    few = phrase_loss(regions, texts[once], phrases[once], owned, torch.tensor(3.0))
    assert phrase_loss(regions, texts, phrases, owned, torch.tensor(3.0)).item() == pytest.approx(few.item(), rel=1e-5)


def test_phrase_loss_leaves_uncounted_regions_out():
    regions, texts, phrases, owned = phrase_case()
    junk = torch.cat([regions, F.normalize(torch.ones(3, 2, 8), dim=-1)], 1).requires_grad_(True)
    counted = torch.tensor([[True] * 4 + [False] * 2] * 3)
    found = phrase_loss(junk, texts, phrases, owned, torch.tensor(3.0), counted)
    without = phrase_loss(regions, texts, phrases, owned, torch.tensor(3.0))
    assert found.item() == pytest.approx(without.item(), rel=1e-5)
    found.backward()
    assert torch.isfinite(junk.grad).all() and not junk.grad[:, 4:].any() and junk.grad[:, :4].any()


def test_phrase_loss_wants_one_region_for_each_phrase_and_nothing_of_what_a_caption_left_out():
    axes = torch.eye(3)
    phrases, owned = torch.tensor([0, 1, 2]), torch.tensor([[0, 1], [2, -1]])
    told = torch.stack([axes[[0, 1]], axes[[2, 2]]])
    assert phrase_loss(told, axes, phrases, owned, torch.tensor(20.0)) < 0.6  # log 2 for halves, each phrase has one
    untold = torch.stack([axes[[0, 1]], axes[[2, 0]]])  # the second picture also holds phrase 0, unmentioned
    wrong = torch.stack([axes[[0, 1]], axes[[0, 1]]])
    losses = [phrase_loss(r, axes, phrases, owned, torch.tensor(20.0)).item() for r in (told, untold, wrong)]
    assert losses[0] < losses[1] < 1.0 < 3 < losses[2]
