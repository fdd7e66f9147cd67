"""Image encoders with a past: any timm model as backbone, where its weights come from, norms folded for use."""

import json
import shutil
import sys

import pytest
import timm
import torch
from safetensors.torch import save_file

import sseg
from sseg.errors import SSegError
from sseg.models.config import SSegConfig
from sseg.models.folding import fold_norms
from sseg.models.sseg import SSegModel
from train.encoder_start import freeze, in_order, start_encoder
from train.model_setup import make_optimizer
from train.recipe.pretraining import Optimizer

NAME = "test_efficientnet"  # 0.4 million weights
BACKBONE = {"model_type": "timm_backbone", "backbone": NAME, "out_indices": [2, 3, 4], "output_stride": 16}
BACKBONE |= {"freeze_batch_norm_2d": True}


def enliven(module) -> None:
    """Running statistics and scales as after some training."""
    generator = torch.Generator().manual_seed(1)
    for norm in module.modules():
        if hasattr(norm, "running_var"):
            tensors = {norm.running_mean: -1, norm.running_var: 0.5, norm.weight: 0.5, norm.bias: -1}
            for tensor, least in tensors.items():
                tensor.data.copy_(least + 1.5 * torch.rand(tensor.shape, generator=generator))


@pytest.fixture
def make(tiny_config):
    """A tiny model on a timm encoder, with changes to its configuration."""

    def make(**changes) -> SSegModel:
        sizes = {"backbone": BACKBONE, "mask_stride": 8, "mask_feature": "encoder"} | changes
        torch.manual_seed(0)
        model = SSegModel(SSegConfig(**tiny_config.to_dict() | sizes)).eval()
        enliven(model.encoder)
        return model

    return make


@pytest.fixture
def pixels():
    return torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


# ---- as a backbone -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("mask_feature", ["encoder", "both"])
def test_mask_features_are_means_of_maps_under_the_masks(make, pixels, mask_feature):
    """An independent computation: masks shrunk to each map, the maps' weighted means side by side."""
    model = make(mask_feature=mask_feature, mask_feature_levels=[8])
    with torch.no_grad():
        out, maps = model.encode_image(pixels), model.encoder(pixels).feature_maps
        decoded = model.segmenter.pixel_level_module.decoder(list(maps)).last_hidden_state
    assert out.mask_logits.shape == (2, 6, 8, 12) and [one.shape[-1] for one in maps] == [12, 6, 6]
    masks = out.mask_logits.sigmoid()
    small = masks.view(2, 6, 4, 2, 6, 2).mean((3, 5))
    read = [*zip((masks, small, small), maps, strict=True)]
    if mask_feature == "both":  # pixel features of stride 8 are the last level before the projection: taken as they are
        levels = model.segmenter.pixel_level_module.decoder(list(maps), output_hidden_states=True).hidden_states
        assert levels[-1].shape == decoded.shape
        read.append((masks, levels[-1]))
    expected = [torch.einsum("bnhw,bchw->bnc", m, f) / m.sum((2, 3))[..., None] for m, f in read]
    assert torch.allclose(out.mask_features, torch.cat(expected, 2), atol=1e-4)
    assert out.mask_features.shape[2] == model.feature_dim == sum(model.encoder.channels) + 32 * len(expected[3:])


def test_kept_maps_and_kept_features_say_what_the_picture_says(make, pixels):
    model = make()
    ids, mask = torch.tensor([[2, 3, 1]]), torch.ones(1, 3, dtype=torch.long)
    with torch.no_grad():
        maps = list(model.encoder(pixels).feature_maps)
        seen, (texts,) = model(pixels, (ids, mask))
        of_maps, (again,) = model(maps, (ids, mask))
        of_features, _ = model(model.mask_features(maps))
    for one, other in zip(vars(seen).values(), vars(of_maps).values(), strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    assert torch.equal(texts, again)
    assert torch.allclose(of_features.mask_embeddings, seen.mask_embeddings, atol=1e-5)
    assert torch.allclose(of_features.image_embeddings, seen.image_embeddings, atol=1e-5)
    assert of_features.mask_logits is of_features.layer_mask_logits is of_features.pixel_features is None


def test_features_are_read_at_unit_deviation(make, tmp_path):
    model = make()
    features = torch.randn(1, 6, model.feature_dim)
    plain = model.embed_features(features)
    scale, shift = 1 + torch.rand(model.feature_dim), torch.randn(model.feature_dim)
    model.feature_mean.copy_(shift)
    model.feature_std.copy_(scale)
    assert torch.allclose(model.embed_features(features * scale + shift), plain, atol=1e-4)
    model.save_pretrained(tmp_path)
    again = SSegModel.from_pretrained(tmp_path)
    assert torch.equal(again.feature_mean, shift) and torch.equal(again.feature_std, scale)


def test_features_are_left_out_in_training_alone(make):
    model = make(feature_dropout=0.5)
    features = torch.randn(1, 6, model.feature_dim)
    assert torch.equal(model.embed_features(features), model.embed_features(features))
    model.train()
    assert not torch.allclose(model.embed_features(features), model.embed_features(features), atol=1e-3)


def test_a_timm_encoder_answers_through_overlapping_windows(make, tiny_weights, picture, tmp_path):
    """Masks of stride 8 lie where their windows were: a map of twice the picture's side."""
    seg = saved(make(), tiny_weights, tmp_path)
    big = picture.resize((192, 128))
    once, fine = seg.encode(big), seg.encode(big, sliding=True)
    assert once.mask_logits.shape[1:] == (4, 8) and fine.mask_logits.shape[1:] == (16, 24)
    assert (fine.mask_logits.amax(0) > sseg.inference.OUTSIDE).all()  # no hole
    covered = (fine.mask_logits > sseg.inference.OUTSIDE).flatten(1).sum(1)
    assert covered.unique().tolist() == [64]  # a window of 64 pixels is 8 x 8 cells


# ---- folded for use ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("name", [NAME, "tf_mobilenetv3_small_minimal_100", "test_resnet"])
def test_folded_norms_change_no_answer(name, frozen):
    backbone = timm.create_model(name, pretrained=False, features_only=True).eval()
    enliven(backbone)
    if frozen:
        backbone = timm.utils.model.freeze_batch_norm_2d(backbone)
    pixels = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = backbone(pixels)
        fold_norms(backbone)
        after = backbone(pixels)
    left = sum(hasattr(module, "running_var") for module in backbone.modules())
    assert left == (name == "test_resnet")  # its first norm follows a row of convolutions
    for one, other in zip(before, after, strict=True):
        assert torch.allclose(one, other, atol=1e-4 * float(one.abs().max()))


def test_torchs_own_norms_are_folded_where_they_follow_a_convolution():
    conv, norm = torch.nn.Conv2d(3, 5, 3, bias=False), torch.nn.BatchNorm2d(5)
    before_conv = torch.nn.BatchNorm2d(3)
    network = torch.nn.Sequential(before_conv, conv, norm, torch.nn.ReLU()).eval()
    enliven(network)
    pixels = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        expected = network(pixels)
        fold_norms(network)
        assert torch.allclose(network(pixels), expected, atol=1e-5)
    assert isinstance(network[2], torch.nn.Identity) and network[0] is before_conv


def saved(model, tiny_weights, folder):
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocabulary.json"):
        shutil.copy(tiny_weights / name, folder)
    return sseg.load(folder, device="cpu")


def test_loaded_weights_are_folded_and_give_the_masks_of_the_model(make, tiny_weights, pixels, tmp_path):
    model = make()
    seg = saved(model, tiny_weights, tmp_path)
    assert not any(hasattr(module, "running_var") for module in seg.model.encoder.modules())
    assert seg.info()["backbone"] == NAME
    with torch.no_grad():
        one, other = model.encode_image(pixels), seg.model.encode_image(pixels)
    assert torch.allclose(one.mask_logits, other.mask_logits, atol=1e-3)
    assert torch.allclose(one.mask_embeddings, other.mask_embeddings, atol=1e-4)


# ---- where its weights come from -----------------------------------------------------------------------------------
@pytest.fixture
def past():
    """Tensors of a timm model that nobody else has."""
    torch.manual_seed(5)
    network = timm.create_model(NAME, pretrained=False)
    enliven(network)
    return network.state_dict()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Make an installed package of a file of weights."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(name, **files):
        folder = tmp_path / name
        (folder / "weights").mkdir(parents=True)
        (folder / "__init__.py").write_text("raise ImportError('is not run')")
        for file, write in files.items():
            write(folder / "weights" / file.replace("_", "."))
        return f"package:{name}"

    yield make
    sys.path_importer_cache.clear()


def has_started(encoder, past) -> bool:
    own = encoder._backbone.state_dict()
    return all(torch.equal(tensor, past[name]) for name, tensor in own.items())


def renamed(past) -> dict:
    """As in another code base: other names, the same order, without counters."""
    named = [tensor for name, tensor in past.items() if not name.endswith("num_batches_tracked")]
    return {f"layer{i:03d}.thing": tensor for i, tensor in enumerate(named)}


def test_an_encoder_starts_from_a_package_or_a_folder(make, past, package, tmp_path):
    starts = [package("in_order", net_pth=lambda path: torch.save(renamed(past), path)),
              package("by_name", net_safetensors=lambda path: save_file(past, path))]  # fmt: skip
    (tmp_path / "mine").mkdir()
    save_file(past, tmp_path / "mine/model.safetensors")
    for start in (*starts, f"folder:{tmp_path / 'mine'}"):
        encoder = make().encoder
        assert not has_started(encoder, past)
        start_encoder(encoder, NAME, start)
        assert has_started(encoder, past), start


def test_tensors_in_order_are_those_of_the_whole_classifier(past):
    found = in_order(renamed(past), NAME)
    assert found.keys() == past.keys()
    assert all(torch.equal(found[name], past[name]) for name in past if not name.endswith("num_batches_tracked"))


@pytest.mark.parametrize(("start", "words"), [
    ("package:surely_not_installed", "pip install surely-not-installed"),
    ("package:surely.not.installed", "not installed"),
    ("package:.sseg", "not installed"),
    ("package:", "write one of package:NAME"),
    ("model.pth", "write one of package:NAME"),
    ("folder:/nowhere", "There is no /nowhere/model.safetensors"),
])  # fmt: skip
def test_nothing_of_that_name_is_one_sentence(make, start, words):
    with pytest.raises(SSegError, match=words):
        start_encoder(make().encoder, NAME, start)


def test_weights_that_do_not_fit_are_one_sentence(make, past, package, tmp_path):
    fewer = dict(list(renamed(past).items())[:-1])
    turned = dict(reversed(renamed(past).items()))
    other = {name: tensor[:1] for name, tensor in past.items() if tensor.ndim}
    starts = {
        package("fewer", net_pth=lambda path: torch.save(fewer, path)): "other sizes",
        package("turned", net_pth=lambda path: torch.save(turned, path)): "other sizes",
        package("other", net_safetensors=lambda path: save_file(other, path)): "conv_stem.weight is not the same",
        package("nested", net_pth=lambda path: torch.save({"state_dict": past}, path)): "something else",
        package("broken", net_safetensors=lambda path: path.write_bytes(b"no tensors")): "damaged",
        package("cut", net_pth=lambda path: path.write_bytes(b"PK\3\4")): "damaged",
        package("two", a_pth=lambda path: path.write_bytes(b""), b_pth=lambda path: path.write_bytes(b"")): "2 files",
        package("none"): "0 files",
    }  # fmt: skip
    for start, words in starts.items():
        with pytest.raises(SSegError, match=words):
            start_encoder(make().encoder, NAME, start)


class Trap:
    """A pickle of it writes a file where it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_pickle_is_not_run(make, past, package, tmp_path):
    mark = tmp_path / "was run"
    start = package("trap", net_pth=lambda path: torch.save(past | {"extra": Trap(mark)}, path))
    mark.unlink(missing_ok=True)
    with pytest.raises(SSegError, match="more than tensors"):
        start_encoder(make().encoder, NAME, start)
    assert not mark.exists()


# ---- in training ---------------------------------------------------------------------------------------------------
OPTIMIZER = Optimizer(lr=1e-3, final_lr=0.0, warmup=0, cooldown=1.0, betas=(0.9, 0.98), weight_decay=0.05, clip=5.0,
                      average=0.0)  # fmt: skip


@pytest.mark.parametrize("learn", [0.0, 0.1, 1.0])
def test_the_encoder_learns_at_its_share_of_the_rate(make, learn):
    model = make()
    encoder = {id(parameter) for parameter in model.encoder.parameters()}
    shares = {id(p): group["share"] for group in make_optimizer(model, OPTIMIZER, learn).param_groups
              for p in group["params"]}  # fmt: skip
    assert {shares.get(one, 0.0) for one in encoder} == {learn}
    others = [id(parameter) for parameter in model.parameters() if id(parameter) not in encoder]
    assert all(shares[one] == 1.0 for one in others)


def test_a_frozen_encoder_stays_as_it_is(make, pixels):
    """Also one whose norms would move with every batch."""
    model = make(backbone=BACKBONE | {"freeze_batch_norm_2d": False})
    freeze(model.encoder)
    before = {name: tensor.clone() for name, tensor in model.encoder.state_dict().items()}
    model.train()
    assert model.training and not any(module.training for module in model.encoder.modules())
    optimizer = make_optimizer(model, OPTIMIZER, 0.0)
    model.encode_image(pixels).mask_embeddings.sum().backward()
    optimizer.step()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.encoder.state_dict().items())


def test_a_configuration_names_what_there_is(tmp_path, make):
    for wrong in ({"mask_feature": "encoders"}, {"text_tower": "word"}):
        with pytest.raises(ValueError, match="is one of"):
            make(**wrong)
    make().save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["backbone"]["backbone"] == NAME
