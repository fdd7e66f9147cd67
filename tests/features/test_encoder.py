"""The features `encoder`: timm's own numbers, facets, weights that do not fit, what they divide, where they serve."""

import json
import shutil

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from sseg import SSegError, images
from sseg.features import source
from sseg.features.encoder import PREFIX, EncoderFeatures
from sseg.paths import ASSETS, WEIGHTS
from sseg.pseudo_masks.generate import grid_of, pseudo_masks
from tests.helpers.tars import write_tar
from train.data.whole_masks import read_meta, read_shard, seed_of
from train.pseudo_masks import main

SIZES = [((12, 12), (48, 48)), ((7, 13), (50, 41)), ((1, 1), (9, 9)), ((2, 40), (64, 500))]
PHOTOS = WEIGHTS / "photos"


def pictures(count, height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 6, 6, generator=generator)
    return F.interpolate(coarse, (height, width), mode="bilinear").mul(255).byte()


@pytest.fixture(scope="module", params=EncoderFeatures.facets)
def each(request):
    """The features by each of the facets."""
    return source("encoder", request.param)


@pytest.fixture(scope="module")
def encoder():
    return source("encoder")


@pytest.fixture
def copied(tmp_path):
    """A copy of what is read of the weights, to damage, and what changes its tensors."""
    for name in ("config.json", "model.safetensors"):
        shutil.copy(PHOTOS / name, tmp_path)
    return tmp_path


@torch.no_grad()
def test_maps_are_those_of_a_plain_forward_pass_of_timm(encoder):
    plain = timm.create_model("tf_efficientnet_lite2", features_only=True, out_indices=(3,)).eval()
    tensors = load_file(PHOTOS / "model.safetensors")
    read = [key for key in plain.state_dict() if not key.startswith(("blocks.5", "blocks.6")) and "num_ba" not in key]
    own = {key: tensors[PREFIX + key] for key in read}
    assert not plain.load_state_dict(own, strict=False).unexpected_keys
    seen = pictures(2, 96, 128)  # as many pixels as 12 x 16 cells have: nothing is resized
    expected = plain((seen.float() / 255 - 0.5) / 0.5)[0]  # (2, 120, 6, 8)
    found = torch.cat([encoder.maps(one, (12, 16)) for one in seen.split(1)])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)
    assert expected.std() > 1


@pytest.mark.parametrize(("grid", "size"), SIZES)
def test_any_grid_on_any_size_gives_finite_float32(each, grid, size):
    found = each(pictures(2, *size), grid)
    assert found.shape[:3] == (2, *grid) and found.dtype == torch.float32 and found.isfinite().all()


def test_a_picture_does_not_depend_on_its_batch_mates(each):
    batch = pictures(3, 96, 80)
    torch.testing.assert_close(each(batch, (12, 10))[1], each(batch[1:2], (12, 10))[0], atol=1e-3, rtol=1e-3)


def test_facets_differ_and_another_is_refused(encoder):
    seen = pictures(1, 64, 64)
    assert encoder(seen, (8, 8)).shape != source("encoder", "maps")(seen, (8, 8)).shape
    with pytest.raises(SSegError, match="'encoder' have no facet 'keys': choose tokens or maps"):
        source("encoder", "keys")


def test_an_animal_is_another_cluster_than_what_it_lies_on(each):
    """By boxes drawn by hand, in pixels of the photograph: the raccoon's back and head, leaves left and right of it."""
    picture = images.read(ASSETS / "examples" / "raccoon.jpg")
    pixels = torch.from_numpy(picture).permute(2, 0, 1)[None].contiguous()
    grid = grid_of(*picture.shape[:2], 224)
    ids = pseudo_masks(pixels, each, 4, grid, seeds=0)[0].numpy()
    labels = ids[np.arange(480) * grid[0] // 480][:, np.arange(640) * grid[1] // 640]
    animal = np.concatenate([labels[30:150, 100:280].ravel(), labels[60:260, 340:480].ravel()])
    leaves = np.concatenate([labels[330:470, 20:300].ravel(), labels[330:400, 420:620].ravel()])
    shares = [np.bincount(part, minlength=4) / len(part) for part in (animal, leaves)]
    assert np.maximum(*shares).sum() / 2 > 0.95  # each cluster given to what has more of it: chance gives 0.5


def test_weights_that_do_not_fit_are_named_in_a_sentence(copied, tiny_weights, tmp_path):
    with pytest.raises(SSegError, match="not bundled in this version: choose the features mini"):
        EncoderFeatures(folder=tmp_path / "nothing")
    with pytest.raises(SSegError, match="no EfficientNet of timm"):
        EncoderFeatures(folder=tiny_weights)
    config = json.loads((copied / "config.json").read_text())
    config["backbone"]["backbone"] = "tf_efficientnet_lite0"  # whose tensors have other shapes
    (copied / "config.json").write_text(json.dumps(config))
    with pytest.raises(SSegError, match="are damaged"):
        EncoderFeatures(folder=copied)


@pytest.mark.parametrize("damage", ["cut", "missing", "infinite"])
def test_damaged_weights_are_named_in_a_sentence(copied, damage):
    file = copied / "model.safetensors"
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:100_000])
    else:
        tensors = load_file(file)
        one = tensors.pop(f"{PREFIX}blocks.4.0.conv_pw.weight")
        changed = {f"{PREFIX}blocks.4.0.conv_pw.weight": one.fill_(float("inf"))} if damage == "infinite" else {}
        save_file(tensors | changed, file)
    with pytest.raises(SSegError, match="not finite" if damage == "infinite" else "are damaged"):
        EncoderFeatures(folder=copied)


def test_masks_of_a_folder_of_tars_are_made_of_them(each, tmp_path, path):
    (tmp_path / "tars").mkdir()
    write_tar(tmp_path / "tars" / "one.tar", {"sky.png": path.read_bytes()})
    facet = "maps" if each.textons is None else "tokens"
    command = [str(tmp_path / "tars"), str(tmp_path / "masks"), "--features", "encoder", "--facet", facet, "--k", "3"]
    assert main([*command, "--resolution", "96", "--device", "cpu"]) == 0
    pixels = torch.from_numpy(images.read(path)).permute(2, 0, 1)[None].contiguous()
    expected = pseudo_masks(pixels, each, 3, grid_of(90, 120, 96), torch.tensor([seed_of("sky")]))[0]
    assert (read_shard(tmp_path / "masks" / "one.tar", 3)["sky"] == expected.numpy()).all()
    assert read_meta(tmp_path / "masks")["features"] == "encoder"
