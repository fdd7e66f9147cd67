"""S-Seg+ weights as people use them."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import sseg
from sseg import SSegError, checkpoint, inference
from sseg.__main__ import main
from sseg.arguments import BACKGROUND
from sseg.models.student import SelfTrainedConfig, SelfTrainedModel

CATEGORIES = ["dog|puppy", "grass", "sky"]
SMALL = {"name": "small-vit", "width": 16, "depth": 4, "heads": 2, "stem": [8, 8], "out": 8}


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    model = SelfTrainedModel(SelfTrainedConfig(categories=CATEGORIES, backbone=SMALL, head_width=8, image_size=64))
    model.save_pretrained(tmp_path / "plus")
    return tmp_path / "plus"


def test_they_answer_as_other_weights_do(folder, picture):
    seg = sseg.load(folder, device="cpu")
    encoded = seg.encode(picture)
    out = seg.ask(encoded, background=0)
    assert out.phrases == CATEGORIES and out.labels.shape == (90, 120) and set(np.unique(out.labels)) <= {0, 1, 2}
    assert np.allclose(out.scores.sum(0), 1, atol=1e-5) and sum(out.areas) == pytest.approx(1)
    assert len(out.to_json()["phrases"]) == 3 and out.explain(5, 5, 2)["words"][0]["phrase"] in ("dog", "grass", "sky")
    one = seg.ask(encoded, ["Puppy"], background=0)
    assert np.allclose(one.scores[0], out.scores[0])  # the others compete, asked for or not
    two = seg.ask(encoded, ["puppy", "sky"], background=0, competitors=False)
    assert np.allclose(two.scores, out.scores[[0, 2]] / out.scores[[0, 2]].sum(0), atol=1e-5)


def test_their_own_background_holds_until_another_is_asked_for(folder, picture):
    assert sseg.load(folder, device="cpu").background == BACKGROUND
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"background": 0.4}))
    seg = sseg.load(folder, device="cpu")
    assert seg.background == seg(picture).background == seg.ask(seg.encode(picture)).background == 0.4
    assert seg(picture, background=0).background == 0


def test_sliding_windows_are_refused_in_one_sentence(folder, picture, tmp_path, capsys):
    """Not taken for a long side: the picture would be seen at 64 pixels."""
    with pytest.raises(SSegError, match="sliding windows"):
        sseg.load(folder, device="cpu").encode(picture, sliding=True)
    picture.save(tmp_path / "photo.png")
    arguments = ["segment", str(tmp_path / "photo.png"), "--weights", str(folder), "--phrases", "grass"]
    assert main([*arguments, "--sliding"]) == 2
    out, err = capsys.readouterr()
    assert not out and "sliding windows" in err and err.count("\n") == 1
    assert main(arguments) == 0


def test_probabilities_are_the_mean_over_scales_and_mirror_images(folder, picture):
    once, more = (sseg.load(folder, device="cpu") for _ in range(2))
    more.model.config.scales, more.model.config.mirrored = (1.0, 1.5), True
    rgb, expected = np.asarray(picture), []
    for side in (64, 96):
        for turned in (rgb, rgb[:, ::-1]):
            seen = once.encode(turned.copy(), long_side=side).probabilities
            expected.append(inference.upsample(seen.flip(2) if turned is not rgb else seen, (16, 16)))
    found = more.encode(rgb).probabilities
    assert torch.allclose(found, torch.stack(expected).mean(0), atol=1e-5) and not torch.allclose(found, expected[0])


def test_what_is_no_category_is_one_sentence(folder, picture):
    with pytest.raises(SSegError, match='"axolotl" is none of the 3 categories .*dog, grass, sky'):
        sseg.load(folder, device="cpu")(picture, "dog, axolotl")


def test_loading_is_strict_and_names_what_is_amiss(folder):
    tensors = load_file(folder / "model.safetensors")
    save_file({name: tensor for name, tensor in tensors.items() if name != "head.classifier.bias"},
              folder / "model.safetensors", {"format": "pt"})  # fmt: skip
    with pytest.raises(SSegError, match='tensor "head.classifier.bias" is missing'):
        sseg.load(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(SSegError, match="has no model.safetensors"):
        sseg.load(folder)


def test_weights_of_one_kind_are_not_taken_for_the_other(folder, tiny_weights):
    with pytest.raises(SSegError, match="not of S-Seg: take other weights"):
        checkpoint.load_model(with_tokenizer(folder))
    with pytest.raises(SSegError, match=r"not of S-Seg\+"):
        checkpoint.load_model(tiny_weights, SelfTrainedModel)


def with_tokenizer(folder):
    (folder / "tokenizer.json").write_text("{}")
    return folder


def test_a_vit_of_timm_at_the_papers_shape_gives_strides_of_four(tmp_path):
    """Patches of 16 pixels, taps at 1/4 ... of the depth; any size of picture."""
    config = SelfTrainedConfig(categories=CATEGORIES, backbone={"name": "vit_tiny_patch16_224"}, head_width=8)
    model = SelfTrainedModel(config).eval()
    with torch.no_grad():
        pixels = torch.randn(1, 3, 64, 96)
        states = []
        for block in (2, 5, 8, 11):
            model.backbone.blocks[block].register_forward_hook(lambda *seen: states.append(seen[2]))
        planes = model.planes(pixels)
        for plane, state in zip(planes, states, strict=True):  # (1, C, h, w) of block states (1, 1 + hw, C)
            assert torch.equal(plane.flatten(2).transpose(1, 2), state[:, 1:])
        levels = [tuple(level(plane).shape[2:]) for level, plane in zip(model.levels, planes, strict=True)]
        assert levels == [(16, 24), (8, 12), (4, 6), (2, 3)]
        before = model(pixels)
        assert before.shape == (1, 3, 16, 24)
        model.save_pretrained(tmp_path)
        again = checkpoint.load_model(tmp_path, SelfTrainedModel)(pixels)
    assert torch.allclose(before, again, atol=1e-6)
    assert json.loads((tmp_path / "config.json").read_text())["categories"] == CATEGORIES


def test_an_encoder_with_strides_of_its_own_needs_no_rescaling(tmp_path):
    """As UperNet's first paper has it; the small size takes the teacher's encoder."""
    backbone = {"model_type": "resnet", "layer_type": "basic", "embedding_size": 8}
    backbone |= {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}
    model = SelfTrainedModel(SelfTrainedConfig(categories=CATEGORIES, backbone=backbone, head_width=8)).eval()
    with torch.no_grad():
        pixels = torch.randn(1, 3, 64, 96)
        assert [tuple(plane.shape[1:]) for plane in model.planes(pixels)] == [
            (8, 16, 24), (8, 8, 12), (16, 4, 6), (16, 2, 3)]  # fmt: skip
        before = model(pixels)
        assert before.shape == (1, 3, 16, 24)
        model.save_pretrained(tmp_path)
        assert torch.allclose(before, checkpoint.load_model(tmp_path, SelfTrainedModel)(pixels), atol=1e-6)
    assert sseg.load(tmp_path, device="cpu").info()["backbone"] == "resnet"
