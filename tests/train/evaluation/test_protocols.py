"""Protocols against their definitions, baselines against transformers' own outputs, and runs that stop and go on."""

import json

import numpy as np
import pytest
import torch

import sseg  # noqa: F401  mends torchvision before transformers looks for it
from sseg.errors import SSegError
from sseg.stopping import STOPPED
from tests.helpers import layouts
from train import evaluate
from train.evaluation import baselines, runner, scoring
from train.evaluation.baselines import Evidence
from train.evaluation.prefetch import Prefetched
from train.evaluation.protocols import PROTOCOLS, family_of
from train.evaluation.registry import open_benchmark
from train.tokenizer import train_tokenizer


@pytest.mark.parametrize(
    ("height", "width", "side", "stride"), [(448, 448, 448, 224), (448, 672, 448, 224), (336, 512, 224, 112)]
)
def test_windows_are_mmsegmentations(height, width, side, stride):
    rows, columns = (max(edge - side + stride - 1, 0) // stride + 1 for edge in (height, width))
    expected = [
        (min(y * stride + side, height) - side, min(x * stride + side, width) - side)
        for y in range(rows)
        for x in range(columns)
    ]
    assert scoring.corners(height, width, side, stride) == expected


def evidence(regions=5, texts=8, grid=(6, 7), seed=0):
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(regions, *grid, generator=generator)
    return Evidence(
        torch.rand(regions, texts, generator=generator) * 2 - 1, weights, grid, torch.rand(texts, generator=generator)
    )


def test_groupvits_scores_follow_its_definition():
    found, owners, scale = evidence(), torch.tensor([0, 0, 1, 2, 3, 4, 5, 6]), 10.0
    maps = scoring.window_maps(found, owners, scale, PROTOCOLS["groupvit"]).numpy()
    cosines, image = found.cosines.numpy(), found.image.numpy()
    classes = np.stack([cosines[:, owners == c].max(1) for c in range(7)], 1) * scale
    image = np.array([image[owners == c].max() for c in range(7)])

    def softmax(x):
        return np.exp(x) / np.exp(x).sum(-1, keepdims=True)

    kept = np.argsort(-image)[:5]
    filtered = np.full_like(classes, -np.inf)
    filtered[:, kept] = classes[:, kept]
    product = softmax(filtered) * softmax(classes)
    expected = product[found.weights.numpy().argmax(0)].transpose(2, 0, 1)
    np.testing.assert_allclose(maps, expected, atol=1e-6)


def test_sclip_averages_cosines_before_the_softmax_and_takes_the_best_name():
    found, owners = evidence(texts=4)._replace(weights=None, cosines=torch.rand(42, 4)), torch.tensor([0, 0, 1, 2])
    maps = scoring.window_maps(found, owners, 50.0, PROTOCOLS["sclip"])
    assert torch.equal(maps, found.cosines.T.reshape(4, 6, 7))
    np.testing.assert_array_equal(scoring.best_texts(maps, owners)[0], torch.maximum(maps[0], maps[1]))


def test_background_in_a_window_is_never_above_its_best_score():
    scores = torch.tensor([[[0.2, 0.2, 0.6, 0.6]]])
    windows = [(np.s_[0:1, 0:2], scores[0, :, :2]), (np.s_[0:1, 2:4], scores[0, :, 2:])]
    answer = scoring.Answer(scores, (1, 4), torch.ones(1, 4), windows)
    assert answer.labels(0.95).tolist() == [[0, 0, 0, 0]]  # each window's best stays, however unsure
    one = scoring.Answer(scores, (1, 4), torch.ones(1, 4), [(np.s_[0:1, 0:4], scores[0])])
    assert one.labels(0.95).tolist() == [[-1, -1, 0, 0]] and one.labels(0.1).tolist() == [[0, 0, 0, 0]]


def test_worded_background_small_areas_and_thresholds():
    scores = torch.full((3, 10, 10), 0.1)
    scores[0, :, 5:], scores[1, :, :5], scores[2, 0, 0] = 0.8, 0.6, 0.9
    plain = scoring.Answer(scores, (10, 10), background_class=True).labels(0.2)
    assert plain[0, 0] == 1 and (plain[:, 5:] == -1).all() and (plain[1:, :5] == 0).all()
    cleaned = scoring.Answer(scores, (10, 10), smallest=0.1, background_class=True).labels(0.2)
    assert (cleaned[:, :5] == 0).all()  # one pixel of class 2 is below a tenth of the picture
    assert (scoring.Answer(scores, (10, 10), background_class=True).labels(0.7)[1:] == -1).all()


# ---- baselines: adapters against the models' own outputs, on small sizes ---------------------------------------------
TEXT = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 64,
    "patch_size": 16,
}


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["a photo of a dog and a cat on the grass"], 300, 77)


def baseline(kind, tokenizer):
    import transformers

    text = TEXT | {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind == "groupvit":
            vision = {
                "hidden_size": 32,
                "intermediate_size": 32,
                "depths": [1, 1, 1],
                "num_group_tokens": [16, 4, 0],
                "num_output_groups": [16, 4, 0],
                "num_attention_heads": 2,
                "image_size": 64,
            }
            network = transformers.GroupViTModel(
                transformers.GroupViTConfig(
                    text_config=text, vision_config=vision, projection_dim=16, projection_intermediate_dim=32
                )
            )
        elif kind == "clipseg":
            config = transformers.CLIPSegConfig(
                text_config=text,
                vision_config=VISION | {"image_size": 352},
                projection_dim=16,
                extract_layers=[0, 1, 2],
                reduce_dim=8,
            )
            network = transformers.CLIPSegForImageSegmentation(config)
        else:
            network = transformers.CLIPModel(
                transformers.CLIPConfig(text_config=text, vision_config=VISION, projection_dim=16)
            )
    return baselines.BASELINES[kind](network, tokenizer, torch.device("cpu"))


def asked(model, side=64):
    pixels = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    texts = model.embed(["dog", "cat", "grass"], ("a photo of a {}.",))
    tokens = model.tokenizer(
        ["a photo of a dog.", "a photo of a cat.", "a photo of a grass."], padding=True, return_tensors="pt"
    )
    return (
        pixels,
        model.look(pixels, texts),
        {"input_ids": tokens["input_ids"], "attention_mask": tokens["attention_mask"]},
    )


def test_groupvit_equals_transformers_own_segmentation(tokenizer):
    model = baseline("groupvit", tokenizer)
    pixels, found, tokens = asked(model)
    with torch.inference_mode():
        own = model.network(
            **tokens, pixel_values=model.normalise(pixels), output_segmentation=True, output_attentions=True
        )
    image = torch.stack([one.image for one in found]) * model.scale
    torch.testing.assert_close(image, own.logits_per_image, atol=1e-4, rtol=1e-4)
    from transformers.models.groupvit.modeling_groupvit import get_grouping_from_attentions

    soft = get_grouping_from_attentions(own.vision_model_output.attentions, (64, 64))  # (B, G, H, W)
    maps = torch.einsum("bgt,bghw->bthw", torch.stack([one.cosines for one in found]) * model.scale**2, soft)
    torch.testing.assert_close(maps, own.segmentation_logits, atol=1e-2, rtol=1e-3)
    assert (found[0].weights.sum(0) == 1).all()


def test_clip_equals_transformers_own_and_maskclip_keeps_values(tokenizer):
    model = baseline("clip", tokenizer)
    pixels, found, tokens = asked(model)
    with torch.inference_mode():
        own = model.network(**tokens, pixel_values=model.normalise(pixels))
    image = torch.stack([one.image for one in found]) * model.scale
    torch.testing.assert_close(image, own.logits_per_image, atol=1e-4, rtol=1e-4)
    assert found[0].grid == (4, 4) and found[0].cosines.shape == (16, 3) and found[0].cosines.abs().max() <= 1
    _, other, _ = asked(baseline("maskclip", tokenizer))
    assert not torch.allclose(other[0].cosines, found[0].cosines)


def test_clipseg_equals_transformers_own(tokenizer):
    model = baseline("clipseg", tokenizer)
    pixels, found, tokens = asked(model, 352)
    with torch.inference_mode():
        own = model.network(**tokens, pixel_values=model.normalise(pixels[:1]).expand(3, -1, -1, -1)).logits
    own = torch.nn.functional.interpolate(own[None], (88, 88), mode="bilinear", antialias=True)[0]
    torch.testing.assert_close(found[0].cosines.T.reshape(3, 88, 88), own, atol=1e-4, rtol=1e-3)


def test_weights_that_are_nowhere_are_one_sentence():
    with pytest.raises(SSegError, match="--random-weights") as error:
        baselines.load("groupvit:no/such-weights", "cpu")
    assert "\n" not in str(error.value)
    with pytest.raises(SSegError, match="names no weights"):
        baselines.load("clip:", "cpu")


# ---- the command ---------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def voc(tmp_path_factory):
    root = tmp_path_factory.mktemp("voc")
    layouts.voc(root, [0, 12, 255, 15])
    return root


def command(voc, tiny_weights, *more):
    return [
        "--benchmark",
        "voc",
        "--partial",
        "--root",
        str(voc),
        "--model",
        str(tiny_weights),
        "--device",
        "cpu",
        "--json-only",
        *more,
    ]


def result(capsys):
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_a_result_names_its_protocol_threshold_and_names(voc, tiny_weights, capsys, tmp_path):
    out = tmp_path / "result.json"
    arguments = ["--protocol", "sclip", "--boundary", "--out", str(out)]
    assert evaluate.main(command(voc, tiny_weights, *arguments)) == 0
    got = result(capsys)
    assert {
        "protocol": "sclip",
        "background": 0.1,
        "threshold": "the protocol's",
        "names": "tuned",
        "partial": True,
        "images": 2,
        "reported_images": 2,
        "classes": 21,
    }.items() <= got.items()
    assert got["seconds_per_image"] > 0 and got["peak_memory_mb"] > 50 and "boundary_miou" in got
    assert "per_class" not in got and {"dog", "person"} <= {
        row["name"] for row in json.loads(out.read_text())["per_class"]
    }
    assert evaluate.main(command(voc, tiny_weights, "--protocol", "paper", "--sweep", "halves")) == 0
    got = result(capsys)
    assert "even number" in got["threshold"] and got["reported_images"] == 1 and got["names"] == "plain"


def test_the_threshold_of_the_training_split_is_reported_on_val(voc, tiny_weights, capsys):
    listing = voc / "VOC2012" / "ImageSets" / "Segmentation" / "train.txt"
    listing.write_text("2007_000033\n")
    assert evaluate.main(command(voc, tiny_weights, "--protocol", "paper", "--sweep", "train")) == 0
    got = result(capsys)
    assert "1 pictures of the training split" in got["threshold"] and got["reported_images"] == 2
    fixed = str(got["background"])
    assert evaluate.main(command(voc, tiny_weights, "--protocol", "paper", "--background", fixed)) == 0
    assert result(capsys)["miou"] == got["miou"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--protocol", "paper"], "no threshold for voc"),
        (["--protocol", "groupvit", "--model", "clip:no/such-weights"], "no/such-weights"),
        (["--model", "clip:no/such-weights"], "with --protocol"),
    ],
)
def test_what_a_protocol_lacks_is_one_sentence(voc, tiny_weights, capsys, more, words):
    assert evaluate.main(command(voc, tiny_weights, *more)) == 2
    said = capsys.readouterr()
    assert words in said.err and len(said.err.strip().splitlines()) == 1 and not said.out


def test_a_run_that_was_stopped_goes_on_and_other_settings_are_refused(
    voc, tiny_weights, capsys, tmp_path, monkeypatch
):
    state = tmp_path / "state.npz"
    arguments = command(voc, tiny_weights, "--protocol", "groupvit", "--state", str(state), "--save-every", "1")
    assert evaluate.main(arguments[: arguments.index("--state")]) == 0
    whole = result(capsys)
    read = type(open_benchmark("voc", voc, partial=True)).__getitem__

    def stops(benchmark, number):
        if number == 1:
            raise KeyboardInterrupt
        return read(benchmark, number)

    with monkeypatch.context() as patch:
        patch.setattr("train.evaluation.datasets.photographs.PhotographBenchmark.__getitem__", stops)
        assert evaluate.main([*arguments, "--workers", "0"]) == STOPPED
    seen = []
    monkeypatch.setattr(
        "train.evaluation.datasets.photographs.PhotographBenchmark.__getitem__",
        lambda benchmark, number: seen.append(number) or read(benchmark, number),
    )
    capsys.readouterr()
    assert evaluate.main(arguments) == 0
    assert seen == [1] and result(capsys)["miou"] == whole["miou"]
    assert evaluate.main([*arguments, "--names", "plain"]) == 2
    assert "other settings" in capsys.readouterr().err


def test_side_by_side_gives_each_model_its_own_process(voc, tiny_weights, capfd):
    arguments = command(voc, tiny_weights, "--protocol", "groupvit", "--limit", "1", "--against", str(tiny_weights))
    assert evaluate.main(arguments) == 0
    first, second = json.loads(capfd.readouterr().out.splitlines()[-1])["models"]
    assert first["miou"] == second["miou"] and first["time_ratio"] == 1.0 and 0.8 < second["memory_ratio"] < 1.25


def test_prefetching_keeps_the_order_and_passes_errors_on(voc):
    benchmark = open_benchmark("voc", voc, partial=True)
    for workers in (0, 2):
        assert [(i, one.name) for i, one in Prefetched(benchmark, workers)] == [(0, "2007_000033"), (1, "2007_000042")]
        assert [i for i, _ in Prefetched(benchmark, workers, 1)] == [1]
    broken = open_benchmark("voc", voc, partial=True)
    broken.pairs[1] = (broken.pairs[1][0], voc / "nowhere.png")
    with pytest.raises(SSegError, match="nowhere.png is missing"):
        list(Prefetched(broken, 2))


def test_every_list_of_names_is_of_classes_that_there_are():
    from train.evaluation.datasets import coco_classes, context, voc

    classes = {"voc": voc.CLASSES, "context": context.CLASSES, "coco-object": ["background", *coco_classes.THINGS]}
    for family, names in classes.items():
        for vocabulary in ("", *(one.vocabulary for one in PROTOCOLS.values())):
            path = runner.ASSETS / "vocabularies" / f"{vocabulary + '-' if vocabulary else ''}{family}.yaml"
            if path.is_file():
                assert path.read_text().startswith("#"), "a list says where it is from"
                assert set(runner.yaml.safe_load(path.read_text())) <= set(names), path
    texts, _ = runner.class_texts(voc.CLASSES, "sclip", family_of("voc20"))
    assert len(texts[0]) == 26 and len(texts) == 21
