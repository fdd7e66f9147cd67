"""K-Means against scikit-learn, and the properties that batches and seeds promise."""

import pytest
import torch
from sklearn.cluster import KMeans

from sseg.errors import SSegError
from sseg.features import source
from sseg.pseudo_masks.kmeans import kmeans


def modes(images, tokens, dims, count, noise, seed=0, unit=False):
    """Features around `count` true modes an image."""
    g = torch.Generator().manual_seed(seed)
    centres = torch.randn(images, count, dims, generator=g)
    which = torch.randint(0, count, (images, tokens, 1), generator=g)
    x = centres.gather(1, which.expand(-1, -1, dims)) + noise * torch.randn(images, tokens, dims, generator=g)
    return torch.nn.functional.normalize(x, dim=-1) if unit else x


def smooth_pictures(count, side=96):
    g = torch.Generator().manual_seed(5)
    coarse = torch.rand(count, 3, 7, 7, generator=g)
    return torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1).mul(255).byte()


DATA = {
    "eight modes, 384-d, unit": (lambda: modes(16, 196, 384, 8, 0.6, unit=True), 8),
    "twenty modes in sixteen clusters": (lambda: modes(12, 400, 11, 20, 0.5), 16),
    "no modes": (lambda: modes(12, 300, 5, 1, 1.0), 8),
    "pixel features": (lambda: source("pixels")(smooth_pictures(12), (24, 24)).flatten(1, 2), 16),
    "far from the origin": (lambda: modes(8, 300, 3, 6, 0.3) + 1000, 6),
    # from 2,048 tokens on, centres are found on a part of them
    "many tokens in modes": (lambda: modes(4, 3136, 48, 8, 0.8, unit=True), 8),
    "many tokens, no modes": (lambda: modes(4, 2100, 5, 1, 1.0), 12),
    "many tokens of pictures": (lambda: source("pixels")(smooth_pictures(4, 240), (56, 56)).flatten(1, 2), 16),
}


@pytest.mark.parametrize("name", DATA)
def test_inertia_within_one_per_cent_of_scikit_learn(name):
    make, k = DATA[name]
    x = make()
    ours = theirs = 0.0
    for run in range(6):
        seeds = torch.arange(len(x)) + 100 * run
        ours += float(kmeans(x, k, steps=100, seeds=seeds).inertia.sum())
        theirs += sum(KMeans(k, n_init=1, random_state=run).fit(image.double().numpy()).inertia_ for image in x)
    assert ours <= 1.01 * theirs


def test_one_lloyd_step_equals_scikit_learns_from_the_same_centres():
    x = modes(3, 200, 6, 5, 0.8)
    start = kmeans(x, 5, steps=0, seeds=3).centers
    ours = kmeans(x, 5, steps=1, seeds=3)
    for image in range(3):
        theirs = KMeans(5, init=start[image].numpy(), n_init=1, max_iter=1, tol=0).fit(x[image].numpy())
        # scikit-learn moves its centres once and assigns again, as we do
        torch.testing.assert_close(ours.centers[image], torch.from_numpy(theirs.cluster_centers_), atol=1e-5, rtol=0)
        torch.testing.assert_close(ours.labels[image], torch.from_numpy(theirs.labels_).long())


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_labels_centres_and_inertia_agree_with_each_other(metric):
    x = modes(4, 150, 12, 6, 0.7) + 2
    got = kmeans(x, 6, steps=100, seeds=1, metric=metric)
    features = torch.nn.functional.normalize(x, dim=-1) if metric == "cosine" else x
    distances = torch.cdist(features.double(), got.centers.double()).square()
    assert (distances.argmin(2) == got.labels).all()
    torch.testing.assert_close(distances.amin(2).sum(1), got.inertia.double(), rtol=1e-3, atol=1e-3)
    if metric == "cosine":
        torch.testing.assert_close(got.centers.norm(dim=-1), torch.ones(4, 6))
        scaled = kmeans(x * torch.rand(4, 150, 1).add(0.1), 6, steps=100, seeds=1, metric=metric)
        assert (scaled.labels == got.labels).float().mean() > 0.99


def test_many_tokens_with_one_odd_one_out():
    """A single token apart that the first look, at every fourth, does not see."""
    x = modes(2, 2401, 6, 3, 0.1, seed=8)
    x[:, 1] += 50
    got = kmeans(x, 4, steps=50)
    assert torch.isfinite(got.centers).all() and torch.isfinite(got.inertia).all()
    nearest = torch.cdist(x, got.centers).argmin(2)
    assert torch.equal(nearest, got.labels)


def test_an_image_does_not_depend_on_its_batch_mates():
    x = torch.cat([modes(40, 100, 11, 12, 0.5), modes(1, 100, 11, 1, 1e-3)])  # the last one converges at once
    seeds = torch.arange(41) * 7
    together = kmeans(x, 8, seeds=seeds)
    order = torch.randperm(41, generator=torch.Generator().manual_seed(0))
    shuffled = kmeans(x[order], 8, seeds=seeds[order])
    torch.testing.assert_close(shuffled.labels, together.labels[order])
    for image in (0, 17, 40):
        alone = kmeans(x[image : image + 1], 8, seeds=int(seeds[image]))
        assert (alone.labels[0] == together.labels[image]).all()


def test_each_image_may_have_its_own_k():
    x = torch.randn(5, 60, 4, generator=torch.Generator().manual_seed(0))
    ks = torch.tensor([3, 8, 3, 1, 60])
    together = kmeans(x, ks, seeds=torch.arange(5))
    for i, k in enumerate(ks.tolist()):
        alone = kmeans(x[i : i + 1], k, seeds=torch.tensor([i]))
        assert torch.equal(together.labels[i], alone.labels[0]) and together.inertia[i] == alone.inertia[0]
        assert torch.equal(together.centers[i, :k], alone.centers[0]) and together.centers[i, k:].isnan().all()
    with pytest.raises(SSegError, match="one k an image"):
        kmeans(x, ks[:2])


def test_half_precision_in_is_computed_in_single():
    x = torch.randn(3, 50, 6, generator=torch.Generator().manual_seed(0)).bfloat16()
    half, single = kmeans(x, 4), kmeans(x.float(), 4)
    assert torch.equal(half.labels, single.labels) and half.centers.dtype == torch.float32
    assert torch.equal(half.inertia, single.inertia)


def test_seeds_decide_and_repeat():
    x = modes(1, 200, 4, 1, 1.0).expand(30, -1, -1)
    same = kmeans(x, 8, seeds=5)
    assert (same.labels == same.labels[:1]).all()
    different = kmeans(x, 8, seeds=torch.arange(30))
    assert len(different.inertia.unique()) > 10
    assert (kmeans(x, 8).labels == different.labels).all()  # None: the place in the batch


def test_more_clusters_than_distinct_tokens():
    x = torch.tensor([[0.0, 0], [0, 0], [5, 5], [5, 5], [5, 5], [9, 0]])[None]
    got = kmeans(x, 5)
    assert float(got.inertia) < 1e-6
    groups = got.labels[0].tolist()
    assert groups[0] == groups[1] != groups[5] and groups[2] == groups[3] == groups[4] != groups[0]
    assert torch.isfinite(got.centers).all()


def test_empty_clusters_take_the_farthest_tokens():
    from sseg.pseudo_masks.kmeans import _step

    x = torch.tensor([[0.0], [1], [2], [30]])[None]
    centers = torch.tensor([[[1.0], [500], [900]]])
    moved = _step(x, x.transpose(1, 2), x[..., 0].square(), centers, spherical=False)
    assert moved[0, 0, 0] == 8.25
    assert sorted(moved[0, 1:, 0].tolist()) in ([0, 30], [2, 30])


def test_as_many_clusters_as_tokens_is_exact():
    got = kmeans(modes(2, 12, 3, 1, 1.0), 12)
    assert all(len(image.unique()) == 12 for image in got.labels)
    assert float(got.inertia.max()) < 1e-5


def test_uniforms_are_uniform_and_differ_between_neighbouring_seeds():
    from sseg.pseudo_masks.kmeans import _uniforms

    draws = _uniforms(torch.arange(2000), 50).double()
    assert float(draws.min()) >= 0 and float(draws.max()) < 1
    assert abs(float(draws.mean()) - 0.5) < 0.005 and abs(float(draws.std()) - 12**-0.5) < 0.005
    correlation = torch.corrcoef(draws.T) - torch.eye(50)
    assert float(correlation.abs().max()) < 0.12
    assert float(torch.corrcoef(torch.stack([draws[:-1].flatten(), draws[1:].flatten()]))[0, 1].abs()) < 0.02


@pytest.mark.parametrize(
    ("x", "k", "words"),
    [
        (torch.zeros(2, 5, 3), 6, "6 clusters of 5 tokens"),
        (torch.zeros(2, 5, 3), 0, "0 clusters"),
        (torch.zeros(5, 3), 2, "shape"),
        (torch.full((1, 5, 3), float("nan")), 2, "finite"),
    ],
)
def test_bad_input_is_named(x, k, words):
    with pytest.raises(SSegError, match=words):
        kmeans(x, k)


def test_bad_metric_and_seed_count_are_named():
    with pytest.raises(SSegError, match="manhattan"):
        kmeans(torch.zeros(1, 5, 3), 2, metric="manhattan")
    with pytest.raises(SSegError, match="2 seeds"):
        kmeans(torch.zeros(3, 5, 3), 2, seeds=torch.arange(2))
