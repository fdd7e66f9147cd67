"""Batched K-Means: many small clusterings at once, each one reproducible from its own seed.

Lloyd's iterations from greedy k-means++ seeds (Arthur and Vassilvitskii 2007, with several candidates a centre as
scikit-learn draws them). Images of many tokens find their centres on every fourth token, from twice the candidates, and
settle them on all. On a CPU the images run in blocks that fit the cache; on a GPU all of them run together.
"""

import math
from typing import NamedTuple

import torch

from sseg.errors import SSegError, SSegValueError

_BLOCK_BYTES = 1 << 21  # features and affinities of one block: as much as the caches of a core hold
_MANY = 2048  # tokens from which centres are found on every fourth first: fewer fit the cache as they are
_EVERY = 4
_TOLERANCE = 1e-4  # of the mean variance of a feature, as in scikit-learn
_GOLDEN, _MIX_1, _MIX_2 = -0x61C8864680B583EB, -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15  # splitmix64, as int64


class KMeansResult(NamedTuple):
    """labels (B, T) int64 in 0..k-1; centers (B, k, d) float32; inertia (B,): sums of squared distances."""

    labels: torch.Tensor
    centers: torch.Tensor
    inertia: torch.Tensor


@torch.no_grad()
def kmeans(x, k, steps=20, seeds=None, metric="euclidean"):
    """Cluster the tokens of each image by itself.

    x: (B, T, d) float tensor, T >= k; half precision is computed in single. k: one int, or (B,) ints, a k for each
    image: labels stay below it, centres beyond it are NaN. steps: most Lloyd iterations; an image that has converged
    stops earlier.
    seeds: None (0, 1, 2, ...: the place in the batch), one int for all, or a (B,) tensor of ints; an image's result
    depends on its own seed and features, never on the images beside it.
    metric: "euclidean", or "cosine": features and centres are scaled to unit length (spherical K-Means), and the
    inertia is the sum of squared chords, 2 - 2 cos.
    A cluster that loses its last token takes the token that is farthest from its own centre.
    Raises SSegError if the sizes, the metric or the values (NaN, infinity) do not fit.
    """
    if isinstance(k, torch.Tensor) and k.ndim:
        _check(x, int(k.max()), metric)
        return _by_k(x, k, steps, _image_seeds(seeds, len(x), x.device), metric)
    k = int(k)
    _check(x, k, metric)
    seeds = _image_seeds(seeds, len(x), x.device)
    if x.device.type == "cpu":
        bytes_per_image = 4 * x.shape[1] * (x.shape[2] + k)
        block = max(1, _BLOCK_BYTES // bytes_per_image)
    else:
        block = len(x)
    with torch.autocast(x.device.type, enabled=False):
        parts = [
            _cluster(x[i : i + block].float(), k, steps, seeds[i : i + block], metric) for i in range(0, len(x), block)
        ]
    return KMeansResult(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _by_k(x, k, steps, seeds, metric):
    """Images of equal k together, so that each gets what it would get alone."""
    if len(k) != len(x):
        raise SSegValueError(f"K-Means needs one k an image: {len(x)} images came with {len(k)}.")
    result = KMeansResult(
        x.new_empty(x.shape[:2], dtype=torch.int64),
        x.new_full((len(x), int(k.max()), x.shape[2]), torch.nan, dtype=torch.float32),
        x.new_empty(len(x), dtype=torch.float32),
    )
    for one in k.unique().tolist():
        rows = (k == one).nonzero()[:, 0].to(x.device)
        labels, centers, inertia = kmeans(x[rows], one, steps, seeds[rows], metric)
        result.labels[rows], result.inertia[rows] = labels, inertia
        result.centers[rows, :one] = centers
    return result


def _check(x, k, metric):
    if x.ndim != 3 or not len(x) or not x.shape[2]:
        raise SSegValueError(f"K-Means needs features of shape (images, tokens, dimensions), not {tuple(x.shape)}.")
    if not 1 <= k <= x.shape[1]:
        raise SSegValueError(f"K-Means cannot make {k} clusters of {x.shape[1]} tokens: choose between 1 and that.")
    if metric not in ("euclidean", "cosine"):
        raise SSegValueError(f"K-Means knows the metrics euclidean and cosine, not {metric!r}.")


def _image_seeds(seeds, count, device):
    if seeds is None:
        return torch.arange(count, device=device)
    seeds = torch.as_tensor(seeds, dtype=torch.int64, device=device)
    if seeds.ndim and len(seeds) != count:
        raise SSegValueError(f"K-Means needs one seed an image: {count} images came with {len(seeds)} seeds.")
    return seeds.expand(count)


def _uniforms(seeds, count):
    """(B,) seeds -> (B, count) floats in [0, 1): splitmix64, a hash of seed and counter, so batch mates are free."""
    counter = torch.arange(1, count + 1, device=seeds.device)
    z = _scramble(seeds)[:, None] + counter * _GOLDEN  # int64 arithmetic wraps around, as the generator wants
    return _shift(_scramble(z), 40).float() / (1 << 24)


def _scramble(z):
    z = (z ^ _shift(z, 30)) * _MIX_1
    z = (z ^ _shift(z, 27)) * _MIX_2
    return z ^ _shift(z, 31)


def _shift(z, bits):
    return (z >> bits) & ((1 << (64 - bits)) - 1)  # torch shifts in the sign; splitmix64 shifts in zeros


def _cluster(x, k, steps, seeds, metric):
    """One block of images: x (B, T, d) -> labels, centers, inertia."""
    spherical = metric == "cosine"
    if spherical:
        shift = torch.zeros_like(x[:, :1])
        x = torch.nn.functional.normalize(x, dim=-1)
    else:
        shift = x.mean(1, keepdim=True)
        x = x - shift  # distances by |x|^2 - 2xc + |c|^2 lose digits far from the origin
    xt = x.transpose(1, 2)  # (B, d, T), a view
    squares = x.square().sum(2)  # (B, T)
    if not torch.isfinite(squares.sum()):  # of what lies in the cache already, not another pass over all memory
        raise SSegError("K-Means got features that are not finite (NaN or infinity): look at what made them.")
    tolerance = _TOLERANCE * squares.mean(1) / x.shape[2]
    candidates = 2 + int(math.log(k))  # as in scikit-learn
    if x.shape[1] >= max(_MANY, _EVERY * k):
        few = x[:, ::_EVERY].contiguous()
        few = few, few.transpose(1, 2), squares[:, ::_EVERY].contiguous()
        centers = _lloyd(*few, _seed(*few, k, seeds, 2 * candidates), steps, tolerance, spherical)
    else:
        centers = _seed(x, xt, squares, k, seeds, candidates)
    centers = _lloyd(x, xt, squares, centers, steps, tolerance, spherical)
    best, labels = _affinity(xt, centers).max(1)
    inertia = (squares - 2 * best).clamp_min(0).sum(1)
    return labels, centers + shift, inertia


def _affinity(xt, centers):
    """x.c - |c|^2 / 2, (B, K, T): largest for the nearest centre; the distance is |x|^2 minus twice this."""
    return torch.baddbmm(centers.square().sum(2, keepdim=True), centers, xt, beta=-0.5)


def _seed(x, xt, squares, k, seeds, candidates):
    """Greedy k-means++: of some tokens drawn by their squared distance keep the one that lowers the sum most."""
    images, tokens, dims = x.shape
    draws = _uniforms(seeds, 1 + (k - 1) * candidates)
    first = (draws[:, :1] * tokens).long()  # (B, 1)
    chosen = [first]
    centers = x.gather(1, first[..., None].expand(-1, -1, dims))
    distance = (squares - 2 * _affinity(xt, centers)[:, 0]).clamp_min_(0)  # (B, T) to the nearest centre so far
    rows = torch.arange(images, device=x.device)
    for place in range(1, k):
        draw = draws[:, 1 + (place - 1) * candidates : 1 + place * candidates]
        mass = distance.cumsum(1)
        picks = torch.searchsorted(mass, draw * mass[:, -1:], right=True).clamp_max_(tokens - 1)  # (B, L)
        points = x.gather(1, picks[..., None].expand(-1, -1, dims))
        nearest = torch.add(squares[:, None], _affinity(xt, points), alpha=-2)  # (B, L, T)
        nearest = torch.minimum(nearest.clamp_min_(0), distance[:, None])
        winner = nearest.sum(2).argmin(1)
        distance = nearest[rows, winner]
        chosen.append(picks[rows, winner][:, None])
    return x.gather(1, torch.cat(chosen, 1)[..., None].expand(-1, -1, dims))


def _lloyd(x, xt, squares, centers, steps, tolerance, spherical):
    """Move the centres until they rest: an image whose centres moved less than its tolerance leaves the loop."""
    final = centers.clone()
    active = torch.arange(len(x), device=x.device)
    for _ in range(steps):
        moved = _step(x, xt, squares, centers, spherical)
        final[active] = moved
        going = (moved - centers).square().sum((1, 2)) > tolerance
        left = int(going.sum())
        if left == 0:
            break
        centers = moved
        if left < len(active):
            x, xt, squares, centers, tolerance, active = (
                part[going] for part in (x, xt, squares, centers, tolerance, active)
            )
    return final


def _step(x, xt, squares, centers, spherical):
    affinity = _affinity(xt, centers)
    best = affinity.amax(1, keepdim=True)
    member = affinity.eq_(best)  # (B, K, T) of 0 and 1: equal centres share their tokens, which leaves them equal
    counts = member.sum(2, keepdim=True)
    moved = torch.bmm(member, x) / counts.clamp_min(1)
    if (counts == 0).any():
        moved = _refill(x, squares - 2 * best[:, 0], counts[..., 0] == 0, moved)
    return torch.nn.functional.normalize(moved, dim=-1) if spherical else moved


def _refill(x, distance, empty, centers):
    """Give the n-th empty cluster of an image its n-th farthest token. distance (B, T), empty (B, K) bool."""
    far = distance.topk(empty.shape[1], dim=1).indices  # (B, K)
    order = (empty.cumsum(1) - 1).clamp_min(0)
    tokens = far.gather(1, order)[..., None].expand(-1, -1, x.shape[2])
    return torch.where(empty[..., None], x.gather(1, tokens), centers)
