"""Weights that are missing, damaged, or somewhere else: one clear sentence each, and never a pickle."""

import json
import pickle
import shutil
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

import sseg
from sseg import SSegError, checkpoint
from sseg.paths import WEIGHTS
from tests.helpers.hub import serve


@pytest.fixture
def weights(tiny_weights, tmp_path):
    """A copy to damage."""
    return shutil.copytree(tiny_weights, tmp_path / "weights")


def change_tensors(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def problem_of(folder):
    with pytest.raises(SSegError) as caught:
        sseg.load(folder, device="cpu")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_weights_come_back_as_they_were_saved(weights):
    from sseg.models.sseg import SSegModel

    model = checkpoint.load_model(weights)
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    again = SSegModel.from_pretrained(weights)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    model.save_pretrained(weights / "copy")
    first, second = (load_file(f / "model.safetensors") for f in (weights, weights / "copy"))
    assert first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def test_half_precision_files_are_run_in_single(weights):
    change_tensors(weights, lambda tensors: tensors.update({k: v.half() for k, v in tensors.items()}))
    assert {p.dtype for p in checkpoint.load_model(weights).parameters()} == {torch.float32}


def test_loading_says_nothing(weights, capfd):
    checkpoint.load_model(weights)
    assert capfd.readouterr() == ("", "")


def test_a_missing_tensor_is_named(weights):
    change_tensors(weights, lambda tensors: tensors.pop("logit_scale"))
    assert '"logit_scale" is missing' in problem_of(weights)


def test_an_extra_tensor_is_named(weights):
    change_tensors(weights, lambda tensors: tensors.update({"class_head.weight": torch.ones(2)}))
    assert '"class_head.weight" has no place' in problem_of(weights)


def test_a_tensor_of_another_shape_is_named(weights):
    change_tensors(weights, lambda tensors: tensors.update({"logit_scale": torch.ones(3)}))
    assert '"logit_scale" has shape (3,) instead of ()' in problem_of(weights)


def test_a_tensor_that_is_not_finite_is_named(weights):
    change_tensors(weights, lambda tensors: tensors.update({"logit_scale": torch.tensor(float("nan"))}))
    assert '"logit_scale" holds values that are not finite' in problem_of(weights)


@pytest.mark.parametrize("name", checkpoint.REQUIRED)
def test_a_missing_file_is_named(weights, name):
    (weights / name).unlink()
    assert f"has no {name}" in problem_of(weights)


@pytest.mark.parametrize("name", [*checkpoint.REQUIRED, "vocabulary.json"])
@pytest.mark.parametrize("damage", ["cut", "noise", "empty"])
def test_a_damaged_file_is_named(weights, name, damage):
    data = (weights / name).read_bytes()
    damaged = {"cut": data[: len(data) // 2], "noise": b"\x93" * 300, "empty": b""}[damage]
    (weights / name).write_bytes(damaged)
    assert name in problem_of(weights)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("vocabulary.json", {"phrases": ["dog"]}),
        ("vocabulary.json", [1]),
        ("tokenizer.json", {}),
        ("config.json", {"model_type": "bert"}),
        ("config.json", {"model_type": "sseg", "backbone": {"model_type": "nonesuch"}}),
        ("config.json", {"model_type": "sseg", "embed_dim": "many"}),
    ],
)
def test_json_of_something_else_is_refused(weights, file, content):
    (weights / file).write_text(json.dumps(content))
    assert file in problem_of(weights)


def test_weights_work_without_a_vocabulary(weights):
    (weights / "vocabulary.json").unlink()
    assert sseg.load(weights, device="cpu").known("anything")


class Bang:
    def __reduce__(self):
        return (open, ("/tmp/a-pickle-was-read", "w"))


def test_a_pickle_is_named_and_never_read(weights, tmp_path, monkeypatch):
    (weights / "model.safetensors").unlink()
    (weights / "pytorch_model.bin").write_bytes(pickle.dumps(Bang()))
    monkeypatch.setattr(pickle, "load", lambda *a, **k: pytest.fail("read a pickle"))
    monkeypatch.setattr(torch, "load", lambda *a, **k: pytest.fail("read a pickle"))
    assert '"pytorch_model.bin" is a pickle' in problem_of(weights)


def test_names(weights, tmp_path, monkeypatch):
    assert checkpoint.resolve(weights) == weights and checkpoint.resolve(str(weights)) == weights
    for name in ("maxi", "../nowhere/at/all", "", "a//b"):
        with pytest.raises(SSegError, match="There are no weights"):
            checkpoint.resolve(name)
    with pytest.raises(SSegError, match="given by their folder"):
        checkpoint.resolve(weights / "config.json")


def test_bundled_names_come_before_folders(weights, monkeypatch, tmp_path):
    monkeypatch.setattr(checkpoint, "bundled", lambda *kind: {} if kind else {"mini": weights})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mini").mkdir()
    assert checkpoint.resolve("mini") == weights


@pytest.mark.parametrize(
    ("there", "name", "pair"),
    [
        ((), "mini", ("mini", "mini-plus")),
        (("mini-photos",), "mini", ("mini", "mini-plus")),
        (("photos",), "photos", ("mini", "mini-plus")),
        (("photos", "photos-plus"), "photos", ("photos", "photos-plus")),
    ],
)
def test_who_names_no_weights_gets_those_of_photographs_where_they_are_bundled(
    weights, tmp_path, monkeypatch, there, name, pair
):
    for one in ("mini", "mini-plus", *there):
        shutil.copytree(weights, tmp_path / "bundled" / one)
        if one.endswith("-plus"):
            (tmp_path / "bundled" / one / "config.json").write_text('{"model_type": "sseg-plus"}')
    monkeypatch.setattr(checkpoint, "WEIGHTS", tmp_path / "bundled")
    assert (checkpoint.default(), checkpoint.default_pair()) == (name, pair)
    assert sseg.load(device="cpu").name == name


# ---- the Hub, as a server on this machine -------------------------------------------------------------------------
@pytest.fixture
def hub(weights, tmp_path, monkeypatch):
    """A Hub on the loopback that holds `someone/tiny`."""
    (weights / "pytorch_model.bin").write_bytes(pickle.dumps(Bang()))
    with serve(weights, tmp_path / "cache", monkeypatch) as server:
        yield server


def test_weights_from_the_hub(hub):
    segmenter = sseg.load("someone/tiny@v1", device="cpu")
    assert segmenter.known("dog") and any("/revision/v1" in path for path in hub.asked)
    assert not any(path.endswith(".bin") for path in hub.asked), "a pickle was downloaded"


@pytest.mark.parametrize(
    ("behaviour", "name", "reason"),
    [
        ("missing", "someone/tiny", "no such repository"),
        ("gated", "someone/tiny", "access on request"),
        ("serve", "someone/tiny@v9", "not that revision"),
    ],
)
def test_the_hubs_refusals_are_explained(hub, behaviour, name, reason):
    hub.behaviour = behaviour
    with pytest.raises(SSegError, match=reason) as caught:
        checkpoint.resolve(name)
    assert name in str(caught.value) and '"mini"' in str(caught.value)


def test_a_hub_that_never_answers_is_given_up(hub, monkeypatch):
    hub.behaviour = "hang"
    monkeypatch.setenv("SSEG_HUB_TIMEOUT", "0.5")
    with pytest.raises(SSegError, match="no answer for 0.5 seconds"):
        checkpoint.resolve("someone/tiny")


def test_the_earlier_copy_serves_while_the_hub_hangs(hub, monkeypatch, caplog):
    first = checkpoint.resolve("someone/tiny")
    hub.behaviour = "hang"
    monkeypatch.setenv("SSEG_HUB_TIMEOUT", "0.5")
    assert checkpoint.resolve("someone/tiny") == first
    assert "downloaded earlier" in caplog.text


def test_without_network_the_choices_are_named(hub, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(SSegError, match='give a local folder, or use "mini"'):
        checkpoint.resolve("someone/tiny")


def test_a_timeout_that_is_no_number(hub, monkeypatch):
    monkeypatch.setenv("SSEG_HUB_TIMEOUT", "soon")
    with pytest.raises(SSegError, match="SSEG_HUB_TIMEOUT"):
        checkpoint.resolve("someone/tiny")


# ---- configurations that make no sense -------------------------------------------------------------------------------
DEEP = "[" * 100_000 + "]" * 100_000
RESNET = {"model_type": "resnet", "layer_type": "basic", "embedding_size": 8}
SENSELESS = [
    {"hidden_dim": 10**9}, {"hidden_dim": 10**400}, {"prior": 10**400},
    {"hidden_dim": 60_000}, {"decoder_layers": 10**9}, {"text_layers": 10**9},
    {"merge_steps": 10**9}, {"fpn_dim": "32"}, {"fpn_dim": 33}, {"scales": []}, {"scales": [0]}, {"scales": [1e9]},
    {"scales": 5}, {"image_size": 10**9}, {"image_size": -5}, {"background": "0.5"}, {"background": None},
    {"mirrored": "yes"}, {"temperature": 0}, {"temperature": float("nan")}, {"pixel_std": [0, 0, 0]},
    {"pixel_mean": [0, 0]}, {"mask_feature_levels": []}, {"mask_feature_levels": [5]}, {"combine": "x"},
    {"prompt": "a photo"}, {"text_max_length": 0}, {"decoder_heads": 0}, {"num_queries": 10**9},
    {"text_vocab_size": 10**9}, {"backbone": 5}, {"backbone": {}}, {"backbone": {"model_type": "resnet"}},
    {"backbone": RESNET | {"hidden_sizes": [8] * 4, "depths": [10**6] * 4}},
    {"backbone": RESNET | {"hidden_sizes": [8] * 4, "depths": []}},
    {"backbone": {"model_type": "timm_backbone", "backbone": "hf-hub:somebody/something"}},
    {"backbone": {"model_type": "timm_backbone", "backbone": "resnet18", "use_pretrained_backbone": True}},
    {"backbone": RESNET | {"hidden_sizes": [10**9] * 4}}, {"model_type": 5}, {"model_type": ["sseg"]},
]  # fmt: skip


@pytest.mark.parametrize("change", SENSELESS, ids=lambda change: json.dumps(change)[:60])
def test_a_configuration_that_makes_no_sense_is_one_sentence_at_once(weights, change):
    config = json.loads((weights / "config.json").read_text())
    (weights / "config.json").write_text(json.dumps(config | change))
    start = time.process_time()
    assert "config.json" in problem_of(weights) and time.process_time() - start < 5  # seconds; under one of its own


@pytest.mark.parametrize("text", [DEEP, '{"model_type": ' + DEEP + "}", "{" * 100_000, '{"a": ' + "9" * 10_000 + "}"])
@pytest.mark.parametrize("name", ["config.json", "vocabulary.json", "tokenizer.json", "tokenizer_config.json"])
def test_json_that_no_program_writes(weights, name, text):
    (weights / name).write_text(text)
    problem_of(weights)


@pytest.mark.parametrize(("change", "said"), [
    (lambda t: t.to(torch.int8), "holds I8 numbers"), (lambda t: t > 0, "holds BOOL numbers"),
    (lambda t: torch.full_like(t, 1e38), "over 1e"), (lambda t: torch.full_like(t, torch.nan), "not finite"),
])  # fmt: skip
def test_numbers_that_nothing_can_be_computed_with(weights, change, said):
    name = "image_projection.0.weight"
    change_tensors(weights, lambda tensors: tensors.update({name: change(tensors[name])}))
    assert said in problem_of(weights) and f'"{name}"' in problem_of(weights)


def test_a_negative_variance_is_named(weights):
    def negate(tensors):
        name = next(name for name in tensors if name.endswith("running_var"))
        tensors[name] = -tensors[name] - 1

    change_tensors(weights, negate)
    assert "negative variance" in problem_of(weights)


@pytest.mark.parametrize("word", [5, {}, {"text": 5}, {"text": "a", "wider": 5}, {"text": "a", "kind": []},
                                  {"text": "a", "name": None}, {"text": "x" * 10_000}])  # fmt: skip
def test_a_vocabulary_of_anything_else_is_damaged(weights, word):
    (weights / "vocabulary.json").write_text(json.dumps({"phrases": [{"text": "dog"}, word]}))
    assert "vocabulary.json" in problem_of(weights)


@pytest.mark.parametrize("change", [{"width": 10**9}, {"depth": 10**9}, {"width": "128"}, {"heads": 0}, {"ratio": -1},
                                    {"stem": []}, {"unknown": 5}, {"out": 10**6}])  # fmt: skip
def test_features_of_a_senseless_size_are_one_sentence(tmp_path, change):
    from sseg.models.small_vit import load_network

    folder = shutil.copytree(WEIGHTS / "features-mini", tmp_path / "mini")
    sizes = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(sizes | change))
    with pytest.raises(SSegError, match="damaged"):
        load_network(folder)


def test_features_with_values_that_are_no_numbers_are_one_sentence(tmp_path):
    from sseg.models.small_vit import load_network

    folder = shutil.copytree(WEIGHTS / "features-mini", tmp_path / "mini")
    change_tensors(folder, lambda tensors: tensors["cls"].fill_(torch.nan))
    with pytest.raises(SSegError, match='"cls" holds values that are not finite'):
        load_network(folder)
