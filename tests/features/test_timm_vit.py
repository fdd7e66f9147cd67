"""Features from networks: timm's ViTs, the segmenter's own, and what "auto" takes with and without a Hub."""

import socket
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.models import Eva, VisionTransformer, build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.vision_transformer import ParallelScalingBlock

import sseg
from sseg import SSegError, features, hub, inference
from sseg.features import source, timm_vit
from tests.helpers.hub import point_to, serve

DINO = "vit_small_patch8_224.dino"
PLAIN, REGISTERS = "test_vit.r160_in1k", "test_vit2.r160_in1k"
NORMED, EVA, ROTARY, PARALLEL = (f"sseg_test_{kind}.random" for kind in ("normed", "eva", "rotary", "parallel"))

# ---- small models with what the small ones of timm have not got ----------------------------------------------------
SMALL = {"img_size": 64, "patch_size": 16, "embed_dim": 32, "depth": 2, "num_heads": 4, "num_classes": 0}
default_cfgs = generate_default_cfgs({
    name: {"hf_hub_id": "timm/", "num_classes": 0, "input_size": (3, 64, 64), "mean": (0.5, 0.4, 0.3),
           "std": (0.2, 0.3, 0.4), "first_conv": "patch_embed.proj", "classifier": "head"}
    for name in (NORMED, EVA, ROTARY, PARALLEL)
})  # fmt: skip


def small(kind, name, pretrained, options, **more):
    return build_model_with_cfg(kind, name, pretrained, **(SMALL | more | options))


@register_model
def sseg_test_normed(pretrained=False, **options):
    """Queries and keys normed."""
    return small(VisionTransformer, "sseg_test_normed", pretrained, options, qk_norm=True)


@register_model
def sseg_test_eva(pretrained=False, **options):
    """As DINOv3: queries, keys and values in one projection, whose keys have no bias."""
    more = {"use_abs_pos_emb": False, "use_rot_pos_emb": True, "num_reg_tokens": 4, "scale_attn_inner": False}
    return small(Eva, "sseg_test_eva", pretrained, options, **more)


@register_model
def sseg_test_rotary(pretrained=False, **options):
    """As Sapiens2: rotary positions, registers, keys projected by themselves, one for every two heads."""
    more = {"qkv_fused": False, "num_kv_heads": 2, "qk_norm": True, "use_rot_pos_emb": True, "num_reg_tokens": 4}
    return small(Eva, "sseg_test_rotary", pretrained, options, attn_type="rope", **more)


@register_model
def sseg_test_parallel(pretrained=False, **options):
    """Attention and MLP in one: no attention module whose keys could be read."""
    return small(VisionTransformer, "sseg_test_parallel", pretrained, options, block_fn=ParallelScalingBlock)


# ---- weights with random numbers in a cache as huggingface_hub keeps it ----------------------------------------------
@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A function from a name to the file of its weights in a cache, whose folder is `store.folder`."""
    folder, done = tmp_path_factory.mktemp("hub"), {}

    def put(name):
        if name not in done:
            done[name] = put_into(folder, name)
        return done[name]

    put.folder = folder
    return put


def put_into(folder, name):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = timm.create_model(name)
        for parameter in model.parameters():  # biases, norms and layer scales begin at values that hide mistakes
            if parameter.ndim < 2:
                parameter.data.normal_(0.2, 0.2)
    snapshot = folder / f"models--timm--{name}" / "snapshots" / ("b" * 40)
    snapshot.mkdir(parents=True)
    refs = snapshot.parents[1] / "refs"
    refs.mkdir()
    (refs / "main").write_text("b" * 40)
    save_file(model.state_dict(), snapshot / "model.safetensors")
    return snapshot / "model.safetensors"


@pytest.fixture
def cache(store, monkeypatch):
    """The store, as the cache of a machine without network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(store.folder))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return store


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """An empty cache on a machine without network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


@pytest.fixture
def server(store, tmp_path, monkeypatch):
    """A Hub with the weights of PLAIN, and an empty cache."""
    with serve(store(PLAIN).parent, tmp_path / "cache", monkeypatch) as hub_server:
        yield hub_server


def pictures(height, width, count=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 7, 5, generator=generator)
    return F.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1).mul(255).byte()


def reference(store, name, size=None):
    """timm's own model with those weights, for pictures of that size."""
    model = timm.create_model(name).eval()
    model.load_state_dict(load_file(store(name)))
    if size:
        model.set_input_size(size)
    return model


def normal(model, pixels):
    """Pixels as the model's configuration says."""
    planes = zip(pixels.unbind(1), model.pretrained_cfg["mean"], model.pretrained_cfg["std"], strict=True)
    return torch.stack([(plane / 255 - mean) / std for plane, mean, std in planes], 1)


def native(model):
    """Height and width that the model was made for, and its grid."""
    return model.patch_embed.img_size, model.patch_embed.grid_size


def unit(tokens, model, grid):
    """(B, prefix + T, d) -> unit vectors (B, h, w, d) of the patches."""
    patches = tokens[:, model.num_prefix_tokens :]
    return (patches / patches.norm(dim=-1, keepdim=True)).unflatten(1, grid)


def sentence(function, *arguments, **options):
    """The error's one sentence."""
    with pytest.raises(SSegError) as caught:
        function(*arguments, **options)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    return str(caught.value)


# ---- what the features are -------------------------------------------------------------------------------------------
@torch.no_grad()
@pytest.mark.parametrize("name", [PLAIN, REGISTERS, EVA, ROTARY, PARALLEL])
def test_tokens_are_timms_own_at_the_native_size(cache, name):
    model = reference(cache, name)
    size, grid = native(model)
    pixels = pictures(*size)
    found = source(name)(pixels, grid)
    assert found.dtype == torch.float32
    torch.testing.assert_close(
        found, unit(model.forward_features(normal(model, pixels)), model, grid), atol=2e-5, rtol=0
    )


@torch.no_grad()
@pytest.mark.parametrize("name", [PLAIN, REGISTERS, EVA, NORMED, ROTARY])
def test_keys_are_the_projection_of_the_last_attention(cache, name):
    model = reference(cache, name)
    size, grid = native(model)
    pixels, seen = pictures(*size), {}
    attention = model.blocks[-1].attn
    attention.register_forward_pre_hook(lambda module, inputs: seen.update(x=inputs[0]))
    model.forward_features(normal(model, pixels))
    if name == ROTARY:
        keys = seen["x"] @ attention.k_proj.weight.T + attention.k_proj.bias
    elif name == EVA:
        keys = seen["x"] @ attention.qkv.weight.chunk(3)[1].T
    else:
        keys = seen["x"] @ attention.qkv.weight.chunk(3)[1].T + attention.qkv.bias.chunk(3)[1]
    if name in (NORMED, ROTARY):
        heads = keys.unflatten(2, (-1, attention.head_dim))
        norm = attention.k_norm
        heads = (heads - heads.mean(-1, keepdim=True)) / (heads.var(-1, correction=0, keepdim=True) + norm.eps).sqrt()
        keys = (heads * norm.weight + norm.bias).flatten(2)
    found = source(name, "keys")(pixels, grid)
    torch.testing.assert_close(found, unit(keys, model, grid), atol=2e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("name", [PLAIN, ROTARY])
@pytest.mark.parametrize("grid", [(3, 7), (12, 5), (1, 1)])
def test_other_grids_are_what_timm_gives_a_model_made_for_that_size(cache, name, grid):
    size = tuple(16 * cells for cells in grid)
    model, pixels = reference(cache, name, size), pictures(*size)
    torch.testing.assert_close(
        source(name)(pixels, grid), unit(model.forward_features(normal(model, pixels)), model, grid), atol=2e-5, rtol=0
    )


def test_dino_sees_patches_of_eight_pixels(cache):
    cache(DINO)
    dino = source("dino")
    assert (dino.name, dino.stride, dino.facets, dino.note) == ("dino", 8, ("tokens", "keys"), "")
    found = dino(pictures(50, 90), (6, 11))
    assert found.shape == (2, 6, 11, 384)
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(2, 6, 11))


@pytest.mark.parametrize(("height", "width"), [(400, 300), (40, 40)])
def test_pictures_are_resized_with_antialiasing(cache, height, width):
    cache(PLAIN)
    grid, picture = (6, 4), pictures(height, width, 1)
    picture[..., ::2, :] = 255 - picture[..., ::2, :]  # lines that a resize without antialiasing would alias
    image = Image.fromarray(picture[0].permute(1, 2, 0).numpy()).resize((64, 96), Image.Resampling.BILINEAR)
    resized = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(1, 96, 64, 3).permute(0, 3, 1, 2)
    network = source(PLAIN)
    assert F.cosine_similarity(network(picture, grid), network(resized, grid), dim=-1).min() > 0.999


@pytest.mark.parametrize("facet", ["tokens", "keys"])
def test_a_picture_does_not_depend_on_its_batch_mates(cache, monkeypatch, facet):
    cache(PLAIN)
    network, pixels = source(PLAIN, facet), pictures(64, 64, 7)
    together = network(pixels, (4, 4))
    monkeypatch.setattr(timm_vit, "TOKENS_AT_ONCE", 3 * 16)  # batches of 3, 3 and 1
    torch.testing.assert_close(network(pixels, (4, 4)), together, atol=2e-5, rtol=0)
    torch.testing.assert_close(network(pixels[4:5], (4, 4))[0], together[4], atol=2e-5, rtol=0)


def test_threads_may_share_a_source(cache):
    cache(PLAIN)
    network, batches = source(PLAIN, "keys"), [pictures(64, 64, 1, seed) for seed in range(24)]
    alone = [network(batch, (4, 4)) for batch in batches]
    with ThreadPoolExecutor(6) as pool:
        shared = list(pool.map(lambda batch: network(batch, (4, 4)), batches))
    for one, other in zip(alone, shared, strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=0)


def test_features_may_be_changed_in_place_where_gradients_are_on(cache):
    cache(PLAIN)
    found = source(PLAIN)(pictures(32, 32), (2, 2))
    assert torch.is_grad_enabled() and not found.requires_grad
    found.flatten(1, 2).mul_(2)  # a tensor of inference mode would refuse


# ---- names and facets ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("nonsense", "choose one of auto, dino"),
        ("pixel", "did you mean pixels"),
        ("vit_small_patch8_224.dinno", "vit_small_patch8_224.dino"),
        ("vit_small_patch14_dinov2.nothing", "vit_small_patch14_dinov2.lvd142m"),
        ("timm/vit_small_patch8_224.dino", "vit_small_patch8_224.dino"),
        ("", "choose one of auto, dino"),
    ],
)
def test_unknown_names_get_a_suggestion(empty, name, hint):
    told = sentence(source, name)
    assert f"no feature source {name!r}" in told and hint in told


@pytest.mark.parametrize(
    "name",
    [
        "resnet18.a1_in1k",
        "swin_tiny_patch4_window7_224.ms_in1k",
        "vit_tiny_r_s16_p8_224.augreg_in21k",  # a ResNet below the transformer
        "samvit_base_patch16.sa1b",
    ],
)
def test_what_is_not_a_plain_vit_is_refused_before_any_download(server, name):
    assert "not a plain ViT" in sentence(source, name) and not server.asked


def test_weights_that_exist_only_as_a_pickle_are_refused(server):
    assert "The Hub has no weights" in sentence(source, "vit_huge_patch14_gap_224.in1k_ijepa") and not server.asked


@pytest.mark.parametrize(
    ("name", "facet", "choices"), [(PLAIN, "values", "tokens or keys"), (PARALLEL, "keys", "tokens")]
)
def test_a_facet_that_is_not_there_is_named_before_any_download(server, name, facet, choices):
    assert f"no facet {facet!r}: choose {choices}." in sentence(source, name, facet) and not server.asked


def test_wrong_pictures_are_named(cache):
    cache(PLAIN)
    assert "uint8" in sentence(source(PLAIN), torch.zeros(1, 3, 8, 8), (4, 4))


def test_the_menu_names_sources_that_exist(empty):
    listed = dict(features.names())
    assert set(listed) >= {"auto", "dino", "mini", "sseg", "pixels"} and all(listed.values())
    for name in listed:
        try:
            source(name)
        except SSegError as error:
            assert "There is no feature source" not in str(error)
    assert all(name in sentence(source, "nonsense") for name in listed)


def test_timm_is_imported_late(run_python):
    code = "import sys, sseg.features as f; f.source('pixels'); f.names(); print('timm' in sys.modules)"
    assert run_python(code).strip() == "False"


# ---- where the weights come from -------------------------------------------------------------------------------------
def test_cached_weights_ask_nothing_of_the_hub(store, server, monkeypatch):
    from huggingface_hub import constants

    server.behaviour = "hang"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(store.folder))
    assert source(PLAIN)(pictures(32, 32), (2, 2)).shape == (2, 2, 2, 64)
    assert not server.asked


def test_weights_from_the_hub(store, server, tmp_path):
    store(PLAIN).with_name("pytorch_model.bin").write_bytes(b"a pickle")
    try:
        first = source(PLAIN)
    finally:
        store(PLAIN).with_name("pytorch_model.bin").unlink()
    assert any(f"/timm/{PLAIN}/resolve/" in path for path in server.asked)
    assert not any(path.endswith(".bin") for path in server.asked)
    server.asked.clear()
    second = source(PLAIN)
    assert not server.asked, "the second time they are in the cache"
    torch.testing.assert_close(first(pictures(32, 32), (2, 2)), second(pictures(32, 32), (2, 2)))


def test_without_network_the_choices_are_named(empty):
    told = sentence(source, "dino")
    assert DINO in told and "HF_HUB_OFFLINE" in told and "mini or pixels" in told


def test_a_repository_without_safetensors_is_explained(server, tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"a pickle")
    server.folder = tmp_path
    assert "no model.safetensors, and a pickle is never read" in sentence(source, PLAIN)
    assert not any(path.endswith(".bin") for path in server.asked)


def test_a_hub_that_accepts_and_never_answers_is_given_up(server, monkeypatch):
    server.behaviour = "hang"
    monkeypatch.setenv("SSEG_HUB_TIMEOUT", "0.5")
    assert "no answer for 0.5 seconds; choose the features mini or pixels" in sentence(source, PLAIN)


@pytest.mark.parametrize("damage", ["cut", "empty", "other"])
def test_damaged_weights_are_named(tmp_path, monkeypatch, store, damage):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    file, whole = put_into(tmp_path, PLAIN), store(PLAIN).read_bytes()
    other = store(REGISTERS).read_bytes()  # of another model
    file.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "other": other}[damage])
    assert str(file) in sentence(source, PLAIN)


# ---- auto ------------------------------------------------------------------------------------------------------------
@pytest.fixture
def without_mini(monkeypatch):
    def missing(device="cpu"):
        raise SSegError("not bundled")

    monkeypatch.setattr(features, "MiniFeatures", missing)


def test_auto_takes_dino_from_the_cache(store, server, monkeypatch):
    from huggingface_hub import constants

    store(DINO)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(store.folder))
    server.behaviour = "hang"
    made = source("auto", "keys")
    assert (made.name, made.facet) == ("dino", "keys") and "dino was taken" in made.note
    assert not server.asked


def test_auto_takes_dino_from_the_hub(store, server, without_mini, monkeypatch):
    monkeypatch.setattr(features, "PATIENCE", 60)  # a busy machine may be slow to answer itself
    server.folder = store(DINO).parent
    assert source("auto").name == "dino"


def test_auto_takes_mini_without_dino(empty):
    try:
        expected = source("mini").name
    except SSegError:
        expected = "pixels"
    made = source("auto")
    assert made.name == expected and f"{expected} was taken" in made.note and "HF_HUB_OFFLINE" in made.note


def test_auto_takes_pixels_without_dino_and_mini(empty, without_mini):
    made = source("auto")
    assert made.name == "pixels" and "pixels was taken" in made.note and made.note.endswith(".")
    assert made(pictures(32, 32), (4, 4)).shape[:3] == (2, 4, 4)


def test_auto_waits_seconds_for_a_hub_that_never_answers(server, without_mini, monkeypatch):
    assert features.PATIENCE <= 3
    server.behaviour = "hang"
    monkeypatch.setattr(features, "PATIENCE", 0.5)
    made = source("auto")
    assert made.name == "pixels" and "no answer for 0.5 seconds" in made.note


def test_auto_does_without_a_hub_that_has_no_dino(server, without_mini, monkeypatch):
    server.behaviour = "missing"
    monkeypatch.setattr(features, "PATIENCE", 60)
    made = source("auto")
    assert made.name == "pixels" and "no such repository" in made.note


def test_auto_does_without_a_hub_that_cannot_be_reached(without_mini, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "PATIENCE", 60)
    with socket.socket() as taken:  # bound, never listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        point_to(f"http://127.0.0.1:{taken.getsockname()[1]}", tmp_path, monkeypatch)
        made = source("auto")
    assert made.name == "pixels" and "the Hub cannot be reached" in made.note


def test_auto_does_not_hide_damaged_weights(cache, monkeypatch, tmp_path):
    damaged = tmp_path / "model.safetensors"
    damaged.write_bytes(cache(PLAIN).read_bytes()[:100])
    monkeypatch.setattr(hub, "cached", lambda *names: damaged)
    assert "damaged" in sentence(source, "auto")


def test_other_sources_have_no_note():
    assert source("pixels").note == ""


# ---- the segmenter's own ---------------------------------------------------------------------------------------------
def test_own_features_are_those_that_masks_are_made_of(tiny_weights):
    own = source(f"sseg:{tiny_weights}")
    segmenter, pixels = sseg.load(tiny_weights, device="cpu"), pictures(64, 32, 3)
    config = segmenter.model.config
    inputs = [inference.resize(p.permute(1, 2, 0).numpy(), (64, 32)) for p in pixels]
    inputs = [inference.normalise(one, config.pixel_mean, config.pixel_std) for one in inputs]
    with torch.no_grad():
        planes = segmenter.model.encode_image(torch.cat(inputs)).pixel_features  # (B, C, 16, 8)
    expected = (planes / planes.norm(dim=1, keepdim=True)).permute(0, 2, 3, 1)
    torch.testing.assert_close(own(pixels, (16, 8)), expected, atol=2e-5, rtol=0)
    images = (Image.fromarray(plane.numpy()) for plane in planes.flatten(0, 1))
    shrunk = [image.resize((3, 5), Image.Resampling.BILINEAR) for image in images]
    shrunk = torch.tensor(np.stack(shrunk)).unflatten(0, planes.shape[:2])
    expected = (shrunk / shrunk.norm(dim=1, keepdim=True)).permute(0, 2, 3, 1)
    torch.testing.assert_close(own(pixels, (5, 3)), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("size", "grid"), [((200, 30), (20, 3)), ((30, 200), (1, 1)), ((64, 64), (40, 40))])
def test_own_features_take_any_picture_and_grid(tiny_weights, size, grid):
    found = source(f"sseg:{tiny_weights}")(pictures(*size, 9), grid)
    assert found.shape[:3] == (9, *grid) and found.dtype == torch.float32 and found.isfinite().all()


def test_own_features_by_default_are_those_of_the_bundled_weights():
    own = source("sseg")
    assert own.name == "sseg" and own(pictures(64, 64), (8, 8)).shape[:3] == (2, 8, 8)


def test_own_features_of_no_weights(empty):
    assert 'There are no weights "maxi"' in sentence(source, "sseg:maxi")
    assert 'There are no weights ""' in sentence(source, "sseg:")
