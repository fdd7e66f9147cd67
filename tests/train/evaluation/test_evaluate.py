"""The evaluation command on real folders and random weights: its figures, its last line, its one-sentence errors."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import sseg
from sseg.metrics import StreamingIoU
from train import evaluate
from train.evaluation.datasets.folder import FolderBenchmark

NAMES = ["dog", "cat", "red car", "grass", "sky", "boat", "tree"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five noisy pictures of two halves in two sizes, with an ignored stripe."""
    root = tmp_path_factory.mktemp("set")
    rng = np.random.default_rng(0)
    (root / "images").mkdir()
    (root / "masks").mkdir()
    for number, (height, width) in enumerate([(60, 90), (60, 90), (60, 90), (70, 50), (70, 50)]):
        ids = np.full((height, width), number, np.uint8)
        ids[:, width // 2 :] = (number + 2) % len(NAMES)
        colours = np.random.default_rng(7).integers(0, 256, (len(NAMES), 3))
        noise = rng.integers(-20, 21, (height, width, 3))
        Image.fromarray((colours[ids] + noise).clip(0, 255).astype(np.uint8)).save(root / "images" / f"{number}.png")
        ids[:5] = 255
        Image.fromarray(ids).save(root / "masks" / f"{number}.png")
    (root / "classes.txt").write_text("\n".join(NAMES))
    return root


def last_line(capsys):
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize("phrases", ["all", "present"])
def test_figures_equal_asking_the_segmenter_picture_by_picture(folder, tiny_weights, capsys, phrases):
    arguments = ["--benchmark", "folder", "--root", str(folder), "--model", str(tiny_weights), "--phrases", phrases]
    assert evaluate.main([*arguments, "--device", "cpu"]) == 0
    got = last_line(capsys)
    segmenter, metric = sseg.load(str(tiny_weights), device="cpu"), StreamingIoU(len(NAMES))
    for sample in FolderBenchmark(folder):
        classes = np.arange(len(NAMES)) if phrases == "all" else np.unique(sample.labels[sample.labels >= 0])
        answer = segmenter(sample.image, [NAMES[i] for i in classes], background=0, competitors=False)
        metric.update(classes[answer.scores.argmax(0)], sample.labels, ignore=-1)  # the naive way: all maps, full size
    assert got["miou"] == pytest.approx(100 * metric.compute()["miou"], abs=0.02)
    assert got["pixel_accuracy"] == pytest.approx(100 * metric.compute()["pixel_accuracy"], abs=0.02)
    assert {"benchmark": "folder", "images": 5, "classes": 7, "phrases": phrases, "seed": 0}.items() <= got.items()
    assert got["seconds_per_image"] > 0
    assert {"model", "protocol", "commit", "hardware", "torch"} <= got.keys()


def test_halves_are_every_second_picture(folder, tiny_weights, capsys):
    """Together they are the whole: the pixel accuracies, weighed with the pictures' true pixels, say so."""
    arguments = ["--benchmark", "folder", "--root", str(folder), "--oracle", "--features", "pixels", "--k", "2"]
    found = []
    for half in ([], ["--half", "even"], ["--half", "odd"]):
        assert evaluate.main([*arguments, *half]) == 0
        found.append(last_line(capsys))
    assert [one["images"] for one in found] == [5, 3, 2] and [one["half"] for one in found] == [None, "even", "odd"]
    pixels = [(sample.labels >= 0).sum() for sample in FolderBenchmark(folder)]
    parts = found[1]["pixel_accuracy"] * sum(pixels[::2]) + found[2]["pixel_accuracy"] * sum(pixels[1::2])
    assert found[0]["pixel_accuracy"] == pytest.approx(parts / sum(pixels), abs=0.3)  # a picture's seed is its place


def test_the_table_comes_first_and_can_be_left_out(folder, tiny_weights, capsys):
    arguments = ["--benchmark", "folder", "--root", str(folder), "--model", str(tiny_weights), "--limit", "2"]
    assert evaluate.main(arguments) == 0
    out = capsys.readouterr().out
    assert "mIoU" in out and "best classes" in out and "2 images" in out
    assert evaluate.main([*arguments, "--json-only", "--size", "96", "--combine", "hard"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["size"] == 96 and "hard" in json.loads(line)["protocol"]


@pytest.mark.parametrize("count", [3, 10, 11, 15, 20, 25])
def test_the_table_names_each_of_up_to_twenty_classes_once(count):
    names = [f"class-{i:02d}" for i in range(count)]
    metric = StreamingIoU(count)
    truth = np.repeat(np.arange(count), 100)
    found = np.where(np.arange(100 * count) % 100 < 3 * truth // 100, (truth + 1) % count, truth)
    metric.update(found, truth, 255)
    result = {"benchmark": "x", "images": 1, "classes": count, "model": "m", "protocol": "p", "miou": 1.0,
              "pixel_accuracy": 1.0, "ignored": 0.0, "seconds_per_image": 1.0, "hardware": "h"}  # fmt: skip
    text = evaluate.table(SimpleNamespace(groups={}, class_names=names), metric, result)
    order = [names[i] for i in np.argsort(-metric.iou(), kind="stable")]
    listed = [line.split()[0] for line in text.splitlines() if line.strip().startswith("class-")]
    assert listed == [*order[:10], *order[10:][::-1][:10]]


def test_oracle_on_pictures_of_plain_regions_is_nearly_perfect(folder, capsys):
    arguments = ["--benchmark", "folder", "--root", str(folder), "--oracle", "--features", "pixels"]
    assert evaluate.main([*arguments, "--k", "8", "--resolution", "224", "--device", "cpu"]) == 0
    eight = last_line(capsys)
    assert eight["oracle_miou"] == eight["miou"] > 85 and eight["k"] == 8 and eight["images"] == 5
    assert evaluate.main([*arguments, "--k", "1", "--device", "cpu"]) == 0
    assert last_line(capsys)["oracle_miou"] < 60


@pytest.mark.slow
def test_every_clustering_of_a_picture_counts(tmp_path):
    arguments = ["--benchmark", "stickers", "--limit", "2", "--oracle", "--features", "pixels", "--k", "8"]
    found = []
    for more in ([], ["--clusterings", "4"]):
        file = tmp_path / "result.json"
        assert evaluate.main([*arguments, "--resolution", "128", "--device", "cpu", "--out", str(file), *more]) == 0
        found.append(json.loads(file.read_text()))
    one, four = found
    assert [4 * row["pixels"] for row in one["per_class"]] == [row["pixels"] for row in four["per_class"]]
    assert one["oracle_miou"] != four["oracle_miou"] and four["images"] == one["images"]


@pytest.mark.slow
def test_outlines_that_follow_the_picture_fit_scenes_better(capsys):
    arguments = ["--benchmark", "stickers", "--limit", "4", "--oracle", "--features", "pixels", "--device", "cpu"]
    found = []
    for outlines in ("cells", "picture"):
        assert evaluate.main([*arguments, "--resolution", "224", "--outlines", outlines]) == 0
        found.append(last_line(capsys))
    assert [one["outlines"] for one in found] == ["cells", "picture"]
    assert found[1]["oracle_miou"] > found[0]["oracle_miou"] + 1


def test_a_black_and_white_mask_is_doubted_and_the_ignored_share_is_said(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    ids = np.zeros((40, 60), np.uint8)
    ids[10:20, 10:40] = 255  # meant as the foreground
    Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(tmp_path / "images" / "a.png")
    Image.fromarray(ids).save(tmp_path / "masks" / "a.png")
    (tmp_path / "classes.txt").write_text("background\ndog\n")
    arguments = ["--benchmark", "folder", "--root", str(tmp_path), "--oracle", "--features", "pixels", "--k", "2"]
    assert evaluate.main(arguments) == 0
    out, err = capsys.readouterr()
    result = json.loads(out.splitlines()[-1])
    assert result["ignored"] == 12.5 and "ignored" in out.splitlines()[5]
    assert [err.strip()] == result["warnings"] and err.startswith('All pixels that count are "background"; the other')
    ids[0] = 1
    Image.fromarray(ids).save(tmp_path / "masks" / "a.png")
    assert evaluate.main(arguments) == 0
    assert capsys.readouterr().err == ""
    ids[:25] = 255
    ids[-1] = 1
    Image.fromarray(ids).save(tmp_path / "masks" / "a.png")
    assert evaluate.main(arguments) == 0
    assert "62.5 % of the pixels have the id 255, which does not count" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--root", "no/such/folder", "--model", "mini"], "There is no folder no/such/folder"),
        (["--model", "mini"], "--root"),
        (["--root", "HERE", "--model", "no/such/weights/at/all"], "no/such/weights"),
        (["--root", "HERE", "--oracle", "--features", "nonsense"], "nonsense"),
        (["--root", "HERE", "--oracle", "--features", "pixels", "--k", "999", "--resolution", "64"], "not 999"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_code_2(folder, capsys, arguments, words):
    arguments = [str(folder) if word == "HERE" else word for word in arguments]
    assert evaluate.main(["--benchmark", "folder", *arguments]) == 2
    captured = capsys.readouterr()
    assert words in captured.err and len(captured.err.strip().splitlines()) == 1 and not captured.out


@pytest.mark.parametrize("arguments", [[], ["--model", "mini", "--limit", "0"], ["--model", "mini", "--phrases", "x"]])
def test_arguments_that_make_no_sense_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        evaluate.main(["--benchmark", "stickers", *arguments])
    assert stop.value.code == 2


def test_k_by_silhouette_and_spectral_clustering_find_the_two_halves(folder, capsys):
    arguments = ["--benchmark", "folder", "--root", str(folder), "--oracle", "--features", "pixels"]
    arguments += ["--resolution", "128", "--limit", "2", "--device", "cpu"]
    assert evaluate.main([*arguments, "--k", "silhouette"]) == 0
    chosen = last_line(capsys)
    assert chosen["k"] == "silhouette" and 2 <= chosen["mean_clusters"] <= 12 and chosen["oracle_miou"] > 80
    assert evaluate.main([*arguments, "--k", "4", "--method", "spectral"]) == 0
    assert last_line(capsys)["oracle_miou"] > 80
