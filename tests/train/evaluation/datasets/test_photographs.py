"""The photograph sets on small copies of their official layouts, and what is said when a part of one is missing."""

import json

import numpy as np
import pytest
from PIL import Image

import sseg
from sseg.errors import SSegError
from sseg.metrics import StreamingIoU
from train import evaluate
from train.evaluation.datasets.coco import open_coco
from train.evaluation.datasets.voc import CLASSES, open_voc
from train.evaluation.predictors import ThresholdSweep, tuned_names

IDS = np.zeros((40, 60), np.uint8)
IDS[:20, :30], IDS[25:, 30:], IDS[20] = 12, 17, 255  # a dog, a sheep (VOC's ids), a border


def picture(path, ids):
    """A picture whose regions differ in colour, so that pseudo-masks can find them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colours = np.random.default_rng(3).integers(0, 256, (256, 3)).astype(np.uint8)
    Image.fromarray(colours[ids]).save(path, quality=95)


def mask(path, ids, palette=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(ids)
    if palette:
        image.putpalette([value for i in range(256) for value in (255 - i, i, i // 2)])
    image.save(path)


@pytest.fixture
def voc(tmp_path):
    folder = tmp_path / "voc-mini" / "VOC2012"
    for name in ("2007_000033", "2007_000042", "not_listed"):
        picture(folder / "JPEGImages" / f"{name}.jpg", IDS)
        mask(folder / "SegmentationClass" / f"{name}.png", IDS, palette=True)
    listing = folder / "ImageSets" / "Segmentation" / "val.txt"
    listing.parent.mkdir(parents=True)
    listing.write_text("2007_000033\n2007_000042\n")
    return tmp_path / "voc-mini"


@pytest.fixture
def coco(tmp_path):
    """Two photographs: one with objects, one with objects and surroundings."""
    root = tmp_path / "coco-val-mini"
    ids = np.where(IDS == 12, 18, np.where(IDS == 17, 90, 0)).astype(np.uint8)  # dog and toothbrush in COCO
    for name in ("000000000001", "000000000002"):
        picture(root / "val2017" / f"{name}.jpg", ids)
        mask(root / "objects" / "val2017" / f"{name}.png", ids)
    mask(root / "semantic" / "val2017" / "000000000002.png", np.where(ids == 90, 199, ids).astype(np.uint8))
    (root / "annotations").mkdir()
    things = [{"id": 18, "name": "dog", "isthing": 1}, {"id": 90, "name": "toothbrush", "isthing": 1}]
    wall = {"id": 199, "name": "wall-other-merged", "isthing": 0}
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps({"categories": things}))
    (root / "annotations" / "panoptic_val2017.json").write_text(json.dumps({"categories": [*things, wall]}))
    return root


def test_voc_reads_the_list_with_ids_as_classes_and_the_border_ignored(voc):
    benchmark = open_voc("voc-mini", voc)
    samples = list(benchmark)
    assert [sample.name for sample in samples] == ["2007_000033", "2007_000042"] and len(benchmark) == 2
    assert samples[0].labels.tolist() == np.where(IDS == 255, -1, IDS.astype(int)).tolist()
    assert (len(benchmark.class_names), benchmark.class_names[12]) == (21, "dog")
    assert [benchmark.class_names[i] for i in benchmark.groups["main"]][1:] == "cat cow dog horse person sheep".split()


def test_coco_has_background_for_objects_and_leaves_out_the_unlabelled_for_stuff(coco):
    objects, stuff = open_coco("coco-mini", coco), open_coco("coco-mini-stuff", coco)
    assert objects.class_names == ["background", "dog", "toothbrush"] and len(objects) == 2
    assert [np.unique(sample.labels).tolist() for sample in objects] == [[0, 1, 2]] * 2
    (sample,) = stuff
    assert sample.name == "000000000002" and np.unique(sample.labels).tolist() == [-1, 0, 2]
    assert stuff.class_names[2] == "wall-other-merged" and stuff.groups == {"things": [0, 1], "stuff": [2]}


@pytest.mark.parametrize("name", ["voc-mini", "coco-mini", "coco-mini-stuff"])
def test_the_command_finds_the_data_by_the_variable_and_gives_the_oracle(name, voc, coco, monkeypatch, capsys):
    monkeypatch.setenv("SSEG_DATA", str(voc.parent))
    arguments = ["--benchmark", name, "--oracle", "--features", "pixels", "--resolution", "224", "--device", "cpu"]
    assert evaluate.main(arguments) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["oracle_miou"] > 90 and result["benchmark"] == name
    assert ("miou_main" in result) == (name == "voc-mini")


def test_missing_parts_are_one_sentence(voc, coco, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SSEG_DATA", str(tmp_path / "nowhere"))
    assert evaluate.main(["--benchmark", "voc-mini", "--oracle"]) == 2
    said = capsys.readouterr()
    assert "--root" in said.err and len(said.err.strip().splitlines()) == 1 and not said.out
    (voc / "VOC2012" / "SegmentationClass" / "2007_000042.png").unlink()
    with pytest.raises(SSegError, match="2007_000042.png is missing"):
        list(open_voc("voc-mini", voc))
    (coco / "annotations" / "instances_val2017.json").write_text("{")
    with pytest.raises(SSegError, match="instances_val2017.json"):
        open_coco("coco-mini", coco)


def test_unknown_ids_and_other_sizes_are_named(voc):
    folder = voc / "VOC2012" / "SegmentationClass"
    mask(folder / "2007_000033.png", np.full_like(IDS, 77))
    with pytest.raises(SSegError, match="holds ids that voc-mini does not have"):
        list(open_voc("voc-mini", voc))
    mask(folder / "2007_000033.png", IDS[:30])
    with pytest.raises(SSegError, match="differ in size"):
        list(open_voc("voc-mini", voc))


def figures(capsys, root, *arguments):
    assert evaluate.main(["--benchmark", "voc-mini", "--root", str(root), "--json-only", *arguments]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize("names", ["plain", "tuned"])
def test_with_background_figures_equal_the_apps_answers(voc, tiny_weights, names, capsys):
    got = figures(capsys, voc, "--model", str(tiny_weights), "--background", "0.1", "--names", names)
    segmenter, metric = sseg.load(str(tiny_weights), device="cpu"), StreamingIoU(21)
    phrases = CLASSES[1:] if names == "plain" else tuned_names("voc-mini", CLASSES)[1:]
    for sample in open_voc(root=voc):
        metric.update(segmenter(sample.image, phrases, background=0.1).labels + 1, sample.labels, -1)
    assert got["miou"] == pytest.approx(100 * metric.compute()["miou"], abs=0.02)
    assert got["background"] == 0.1 and got["reported_images"] == 2


def test_without_background_only_the_pixels_of_classes_count(voc, tiny_weights, capsys):
    got = figures(capsys, voc, "--model", str(tiny_weights), "--phrases", "present")
    segmenter, metric = sseg.load(str(tiny_weights), device="cpu"), StreamingIoU(21)
    for sample in open_voc(root=voc):
        answer = segmenter(sample.image, ["dog", "sheep"], background=0, competitors=False)
        truth = np.where(sample.labels == 0, -1, sample.labels)
        metric.update(np.array([12, 17])[answer.best], truth, -1)
    assert got["miou"] == pytest.approx(100 * metric.compute()["miou"], abs=0.02)


def test_the_threshold_is_chosen_on_the_even_half_and_reported_on_the_odd():
    sweep, truth = ThresholdSweep(3, (0.2, 0.6)), np.array([[0, 0, 2, 2]])
    for number, unsure in ((0, 0.4), (1, 0.1), (2, 0.4), (3, 0.7)):  # how sure the answer is of the true background
        best, confidence = np.array([[1, 1, 2, 2]]), np.array([[unsure, unsure, 0.9, 0.9]])
        sweep.update(number, best, confidence, truth, -1, 0)
    threshold, metric = sweep.chosen()
    assert threshold == 0.6
    assert metric.compute()["per_class"].tolist() == [0.5, 0.0, 1.0]  # of pictures 1 and 3 alone


def test_tuned_names_keep_the_order_and_missing_lists_are_one_sentence():
    names = tuned_names("voc-mini", CLASSES)
    assert len(names) == 21 and names[0] == "background" and names[CLASSES.index("person")].startswith("person|man|")
    with pytest.raises(SSegError, match="no tuned names for stickers"):
        tuned_names("stickers", ["dog"])
