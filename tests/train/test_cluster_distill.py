"""Second stage of features-mini: the loss, windows with their clusters, a run that resumes exactly."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import yaml
from safetensors.torch import load_file, save_file

from sseg.errors import SSegError
from sseg.features.small_vit import MiniFeatures
from sseg.models.small_vit import SmallViT
from tests.conftest import ROOT
from train import cluster_distill, distill
from train.data.clustered import ClusteredImages
from train.recipe import read_recipe


def cluster_distill_main(arguments: list[str]) -> int:
    about = cluster_distill.__doc__
    return distill.main(arguments, kind=cluster_distill.Run, program="train.cluster_distill", about=about)


@pytest.fixture
def recipe(tmp_path) -> Path:
    """features-mini-2.yaml, shrunk to seconds; rendered scenes and a first stage that was not trained."""
    torch.manual_seed(0)
    network = SmallViT(width=16, depth=1, heads=2, stem=[8, 8], out=8)
    first = tmp_path / "first"
    first.mkdir()
    (first / "config.json").write_text(json.dumps(network.config))
    save_file(network.state_dict(), first / "model.safetensors")
    small = yaml.safe_load((ROOT / "train/recipes/features-mini-2.yaml").read_text())
    small["data"] |= {"size": 80, "photographs": None, "scenes": 5}
    small["teacher"] |= {"weights": str(first), "resolution": 96, "k": [2, 4]}
    small["stages"] = [{"steps": 4, "batch": 4, "size": 32, "area": [0.4, 1.0]}]
    small["loss"]["group"] = 2
    small |= {"log_every": 2, "checkpoint_minutes": 0, "precision": "fp32", "device": "cpu"}
    small |= {"out": str(tmp_path / "run")}
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(small))
    return path


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
            scores = {(p, q): float(patches[picture, patch] @ patches[p, q]) / 0.5 for p in group for q in range(5)
                      if (p, q) != (picture, patch)}
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
def test_clusters_lie_where_their_pixels_lie(recipe, emoji_font):
    r = read_recipe(str(recipe))
    pictures = ClusteredImages(r["data"], r["teacher"], 0, Path(r["out"]), "cpu")
    held = pictures.kinds["scenes"]
    assert held["ids"].shape == (5, 2, 16, 16) and int(held["ids"][:, 1].max()) == 3
    source = MiniFeatures("cpu", r["teacher"]["weights"], scales=r["teacher"]["scales"])
    for aspect, picture in ((2.0, 0), (0.6, 1)):  # squashed pictures: clusters of the true shape come back squashed
        squashed = pictures.clusters(source, held["pixels"][picture], aspect)
        assert squashed.shape == (2, 16, 16) and int(squashed[1].max()) == 3
    # Of other pictures, each cell of a colour of its own that says its cluster: windows must agree, however they fall.
    ids = torch.randint(0, 5, (5, 1, 4, 4), dtype=torch.uint8).repeat_interleave(4, 2).repeat_interleave(4, 3)
    held["ids"] = ids.expand(-1, 2, -1, -1).contiguous()
    held["pixels"] = (50 * ids).repeat_interleave(5, 2).repeat_interleave(5, 3).expand(-1, 3, -1, -1).contiguous()
    held["aspects"] = torch.tensor([1.0, 1.5, 0.7, 1.3, 1.0])
    window, clusters = pictures.batch(3, 16, {"size": 64, "area": [0.2, 1.0]}, 0.0)
    again, other = (pictures.batch(seed, 16, {"size": 64, "area": [0.2, 1.0]}, 0.0)[0] for seed in (3, 4))
    assert torch.equal(window, again) and not torch.equal(window, other)
    centres = window.unflatten(2, (8, 8)).unflatten(4, (8, 8))[:, 0, :, 3:5, :, 3:5].mean((2, 4))  # (16, 8, 8)
    agree = (centres / 50 - clusters[:, 0]).abs() < 0.1
    assert agree.float().mean() > 0.75  # a fifth is blurred by `jitter`, and some centres lie on an outline


@pytest.mark.font
def test_a_resumed_run_equals_an_unbroken_one_and_makes_only_clusters_that_lack(recipe, tmp_path, emoji_font, capsys):
    assert cluster_distill_main([str(recipe)]) == 0
    broken = tmp_path / "broken"
    run = cluster_distill.Run(read_recipe(str(recipe), [f"out={broken}"]), resume=False)
    run.train_step()
    run.train_step()
    run.save()
    del run  # as if killed here
    made = broken / "clusters/scenes-000000.safetensors"
    before = made.stat().st_mtime_ns
    assert cluster_distill_main([str(recipe), f"out={broken}", "--resume"]) == 0
    assert made.stat().st_mtime_ns == before
    whole, parts = load_file(tmp_path / "run/state.safetensors"), load_file(broken / "state.safetensors")
    for name in whole.keys() - {"seconds"}:
        assert torch.equal(whole[name], parts[name]), name
    MiniFeatures("cpu", tmp_path / "run")  # what it leaves loads
    (broken / "state.safetensors").unlink()
    capsys.readouterr()
    assert cluster_distill_main([str(recipe), f"out={broken}", "teacher.resolution=80"]) == 2
    assert capsys.readouterr().err.endswith("clusters made in another way: delete it, or change out=.\n")


def test_new_blocks_change_nothing_at_first_and_learn(recipe, tmp_path, capsys):
    first = cluster_distill.Grouper(tmp_path / "first").eval()
    deeper = cluster_distill.Grouper(tmp_path / "first", 3).eval()
    pixels = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(deeper(pixels), first(pixels))
    assert len(deeper.backbone.blocks) == deeper.backbone.config["depth"] == 3
    ids = torch.randint(0, 3, (2, 1, 24), generator=torch.Generator().manual_seed(2))
    for _ in range(2):  # what a new block adds is 0 times what it finds: what it finds learns from the second step on
        cluster_distill.cluster_contrast(deeper(pixels), ids, 0.15, 2).backward()
        with torch.no_grad():
            for p in deeper.parameters():
                p -= 0.1 * p.grad
    for block in deeper.backbone.blocks[1:]:
        assert all(p.grad.abs().max() > 0 for name, p in block.named_parameters() if name != "qkv.bias")
    assert cluster_distill_main([str(recipe), "depth=0"]) == 2
    assert capsys.readouterr().err.startswith("The network has 1 blocks already: change depth to 1 or more")


def test_a_first_stage_that_is_missing_is_one_sentence(recipe, tmp_path, capsys):
    assert cluster_distill_main([str(recipe), f"teacher.weights={tmp_path / 'nothing'}"]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1 and "run train.distill" in error, error


def test_damaged_weights_are_one_sentence(recipe, tmp_path, capsys):
    weights = tmp_path / "first/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])  # as after a download that broke off
    assert cluster_distill_main([str(recipe)]) == 2
    assert capsys.readouterr().err == f"The weights in {tmp_path / 'first'} are damaged: get them again.\n"
    with pytest.raises(SSegError, match="damaged: get them again"):
        MiniFeatures("cpu", tmp_path / "first")
