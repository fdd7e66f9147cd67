"""Second stage of features-mini: the loss, windows with their clusters, what a run leaves."""

import shutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from sseg.errors import SSegError
from sseg.features.small_vit import MiniFeatures
from tests.train.conftest import trainer_of
from train import cluster_distill
from train.data.clustered import ClusteredImages
from train.recipe import ClusterDistill, read_mapping, read_recipe
from train.recipe.features import ClusterStage


@pytest.fixture
def recipe(recipes):
    return recipes["cluster_distill"]


@pytest.fixture
def first(recipe) -> Path:
    """The folder of the stage before, which was not trained."""
    return Path(read_mapping(recipe)["teacher"]["weights"])


def test_loss_is_that_of_finding_ones_clusters_among_the_patches_of_a_group():
    g = torch.Generator().manual_seed(1)
    patches = F.normalize(torch.randn(4, 5, 3, generator=g), dim=-1)
    ids = torch.randint(0, 2, (4, 2, 5), generator=g)
    found = cluster_distill.cluster_contrast(patches, ids, 0.5, 2)
    total = weights = 0.0
    for picture in range(4):
        group = [picture // 2 * 2, picture // 2 * 2 + 1]
        for patch in range(5):
            log_shares, share = {}, {}
            scores = {
                (p, q): float(patches[picture, patch] @ patches[p, q]) / 0.5
                for p in group
                for q in range(5)
                if (p, q) != (picture, patch)
            }
            everything = torch.tensor(list(scores.values())).logsumexp(0)
            for (p, q), score in scores.items():
                log_shares[p, q] = score - float(everything)
                same = [p == picture and int(ids[p, c, q]) == int(ids[p, c, patch]) for c in range(2)]
                share[p, q] = sum(same) / 2
            alike = sum(share.values())
            if alike > 0.5:
                weight = (alike + 4) ** -0.5
                total -= weight * sum(share[at] * log_shares[at] for at in share) / alike
                weights += weight
    assert float(found) == pytest.approx(total / weights, rel=1e-4)


def test_loss_falls_where_clusters_are_told_apart():
    ids = torch.arange(4).repeat(2, 1, 4)  # (2, 1, 16): the same four clusters in both pictures of a group
    own = torch.eye(8)[torch.cat([ids[0, 0], ids[1, 0] + 4]).view(2, 16)]  # a direction for each cluster
    mixed = own.roll(1, 1)
    mixed[:, ::2] = own[:, ::2]
    loss = cluster_distill.cluster_contrast
    assert loss(own, ids, 0.15, 2) < 1.5 < loss(mixed, ids, 0.15, 2)
    alone = torch.arange(16).repeat(2, 1, 1)
    assert cluster_distill.cluster_contrast(own, alone, 0.15, 2) == 0  # nothing to be found


@pytest.mark.font
def test_clusters_lie_where_their_pixels_lie(recipe, tmp_path, emoji_font):
    r = read_recipe(ClusterDistill, recipe, ["data.scenes=5", "data.photographs=null"])
    pictures = ClusteredImages(r.data, r.teacher, 0, tmp_path, "cpu")
    held = pictures.kinds["scenes"]
    assert held["ids"].shape == (5, 2, 16, 16) and int(held["ids"][:, 1].max()) == 3
    source = MiniFeatures("cpu", r.teacher.weights, scales=r.teacher.scales)
    for aspect, picture in ((2.0, 0), (0.6, 1)):  # squashed pictures: clusters of the true shape come back squashed
        squashed = pictures.clusters(source, held["pixels"][picture], aspect)
        assert squashed.shape == (2, 16, 16) and int(squashed[1].max()) == 3
    # Of other pictures, each cell of a colour of its own that says its cluster: windows must agree, however they fall.
    ids = torch.randint(0, 5, (5, 1, 4, 4), dtype=torch.uint8).repeat_interleave(4, 2).repeat_interleave(4, 3)
    held["ids"] = ids.expand(-1, 2, -1, -1).contiguous()
    held["pixels"] = (50 * ids).repeat_interleave(5, 2).repeat_interleave(5, 3).expand(-1, 3, -1, -1).contiguous()
    held["aspects"] = torch.tensor([1.0, 1.5, 0.7, 1.3, 1.0])
    stage = ClusterStage(steps=1, batch=16, size=64, area=(0.2, 1.0))
    window, clusters = pictures.batch(3, 16, stage, 0.0)
    again, other = (pictures.batch(seed, 16, stage, 0.0)[0] for seed in (3, 4))
    assert torch.equal(window, again) and not torch.equal(window, other)
    centres = window.unflatten(2, (8, 8)).unflatten(4, (8, 8))[:, 0, :, 3:5, :, 3:5].mean((2, 4))  # (16, 8, 8)
    agree = (centres / 50 - clusters[:, 0]).abs() < 0.1
    assert agree.float().mean() > 0.75  # a fifth is blurred by `jitter`, and some centres lie on an outline


def test_only_clusters_that_lack_are_made_and_none_of_another_way(recipe, unbroken, tmp_path, capsys):
    shutil.copytree(unbroken("cluster_distill") / "clusters", tmp_path / "run/clusters")
    made = tmp_path / "run/clusters/photographs-000000.safetensors"
    before = made.stat().st_mtime_ns
    trainer_of("cluster_distill", recipe, f"out={tmp_path / 'run'}").advance()
    assert made.stat().st_mtime_ns == before
    assert cluster_distill.main([str(recipe), f"out={tmp_path / 'run'}", "teacher.resolution=80"]) == 2
    assert capsys.readouterr().err.endswith("clusters made in another way: delete it, or change out=.\n")


def test_what_a_run_leaves_loads(unbroken):
    MiniFeatures("cpu", unbroken("cluster_distill"))


def test_new_blocks_change_nothing_at_first_and_learn(first):
    deeper = cluster_distill.Grouper(first, 3).eval()
    plain = cluster_distill.Grouper(first).eval()
    pixels = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(deeper(pixels), plain(pixels))
    assert len(deeper.backbone.blocks) == deeper.backbone.config["depth"] == 3
    ids = torch.randint(0, 3, (2, 1, 24), generator=torch.Generator().manual_seed(2))
    for _ in range(2):  # what a new block adds is 0 times what it finds: what it finds learns from the second step on
        cluster_distill.cluster_contrast(deeper(pixels), ids, 0.15, 2).backward()
        with torch.no_grad():
            for p in deeper.parameters():
                p -= 0.1 * p.grad
    for block in deeper.backbone.blocks[1:]:
        assert all(p.grad.abs().max() > 0 for name, p in block.named_parameters() if name != "qkv.bias")
    with pytest.raises(SSegError, match="has 3 blocks already: change depth to 3 or more"):
        cluster_distill.deepened(deeper.backbone, 2)


def test_a_first_stage_that_is_missing_is_one_sentence(recipe, tmp_path, capsys):
    changes = [f"teacher.weights={tmp_path / 'nothing'}", f"out={tmp_path / 'run'}"]
    assert cluster_distill.main([str(recipe), *changes]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1 and "run train.distill" in error, error


def test_damaged_weights_are_one_sentence(recipe, first, tmp_path, capsys):
    shutil.copytree(first, tmp_path / "first")
    weights = tmp_path / "first/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])  # as after a download that broke off
    changes = [f"teacher.weights={tmp_path / 'first'}", f"out={tmp_path / 'run'}"]
    assert cluster_distill.main([str(recipe), *changes]) == 2
    assert capsys.readouterr().err == f"The weights in {tmp_path / 'first'} are damaged: get them again.\n"
    with pytest.raises(SSegError, match="damaged: get them again"):
        MiniFeatures("cpu", tmp_path / "first")
