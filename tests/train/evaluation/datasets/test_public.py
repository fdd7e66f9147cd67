"""The public sets in their official layout: an oracle that knows only the official numbers and names scores 100.0, a
constant answer its hand-computed value, ids off by one are caught, and broken copies are refused in one sentence."""

import json

import numpy as np
import pytest
from PIL import Image

from sseg.errors import SSegError
from sseg.metrics import StreamingIoU
from tests.helpers import layouts
from tests.helpers.layouts import STRIPES
from train import evaluate
from train.evaluation import prepare
from train.evaluation.datasets import coco_classes, imagenet_s
from train.evaluation.registry import open_benchmark
from train.evaluation.registry import prepare as prepare_benchmark

COCO_IDS = [i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]  # cocodataset.org
COCO = [{"id": one, "name": name} for one, name in zip(COCO_IDS, coco_classes.THINGS, strict=True)]
LVIS = [{"id": i, "name": f"thing_({i})"} for i in range(1, 1204)]
TAGS = {count: sorted(imagenet_s._names())[:count] for count in (50, 300, 919)}

# name: builder, raw id of each stripe (6, 3, 2, 1 of 12 columns), its class or None where nothing counts, a class to
# give everywhere and the mIoU of that by hand: its columns / those counted / classes that occur
CASES = {
    "voc": (layouts.voc, [0, 12, 255, 15], ["background", "dog", None, "person"], "dog", 100 * 3 / 10 / 3),
    "voc20": (layouts.voc, [0, 12, 255, 15], [None, "dog", None, "person"], "dog", 100 * 3 / 4 / 2),
    "context": (
        layouts.context,
        [0, 2, 458, 187],
        ["background", "aeroplane", "wood", "grass"],
        "wood",
        100 * 2 / 12 / 4,
    ),
    "context59": (layouts.context, [0, 2, 458, 187], [None, "aeroplane", "wood", "grass"], "wood", 100 * 2 / 6 / 3),
    "coco-object": (
        layouts.coco_stuff,
        [0, 89, 255, 181],
        ["person", "toothbrush", "background", "background"],
        "background",
        100 * 3 / 12 / 3,
    ),
    "coco-stuff": (
        layouts.coco_stuff,
        [0, 89, 255, 181],
        ["person", "toothbrush", None, "wood"],
        "person",
        100 * 6 / 10 / 3,
    ),
    "coco-object-instances": (
        lambda root, ids: layouts.instances(root, ids, COCO),
        [1, 90, 18, 44],
        ["person", "toothbrush", "dog", "bottle"],
        "dog",
        100 * 2 / 12 / 4,
    ),
    "lvis": (
        lambda root, ids: layouts.instances(root, ids, LVIS, "lvis_v1_val.json", "images/val2017"),
        [1203, 1, 257, 700],
        ["thing 1203", "thing 1", "thing 257", "thing 700"],
        "thing 1203",
        100 * 6 / 12 / 4,
    ),
    "imagenet-s-50": (
        lambda root, ids: layouts.imagenet_s(root, ids, TAGS[50]),
        [0, 1000, 1, 50],
        ["other", None, TAGS[50][0], TAGS[50][-1]],
        "other",
        100 * 6 / 9 / 3,
    ),
    "imagenet-s-300": (
        lambda root, ids: layouts.imagenet_s(root, ids, TAGS[300]),
        [0, 1000, 256, 300],
        ["other", None, TAGS[300][255], TAGS[300][-1]],
        "other",
        100 * 6 / 9 / 3,
    ),
    "imagenet-s-919": (
        lambda root, ids: layouts.imagenet_s(root, ids, TAGS[919]),
        [0, 1000, 256, 919],
        ["other", None, TAGS[919][255], TAGS[919][-1]],
        "other",
        100 * 6 / 9 / 3,
    ),
}
NEEDS_PREPARE = ("context", "context59", "coco-object-instances", "lvis")


def opened(name, root, ids=None, **options):
    builder, raw = CASES[name][:2]
    builder(root, raw if ids is None else ids)
    if name in NEEDS_PREPARE:
        prepare_benchmark(name, root, partial=True)
    return open_benchmark(name, root, partial=True, **options)


def class_index(benchmark, name):
    """By name alone: the benchmark's own numbers are what is tested. Tags stand for ImageNet's names."""
    tags = imagenet_s._names()
    if name in tags:
        return 1 + [tags[tag] for tag in sorted(tags)].index(tags[name])
    return benchmark.class_names.index(name)


def miou(benchmark, answer):
    metric = StreamingIoU(len(benchmark.class_names))
    for sample in benchmark:
        metric.update(answer, sample.labels, benchmark.ignore)
    return 100 * metric.miou()


def oracle(benchmark, name):
    """(8, 12) classes from the official names of the stripes; where nothing counts, any class."""
    return np.take([0 if one is None else class_index(benchmark, one) for one in CASES[name][2]], STRIPES)


@pytest.mark.parametrize("name", CASES)
def test_the_oracle_scores_100_a_constant_its_value_and_other_ids_less(name, tmp_path):
    benchmark = opened(name, tmp_path)
    truth, constant, value = oracle(benchmark, name), *CASES[name][3:]
    assert miou(benchmark, truth) == 100.0
    assert miou(benchmark, np.full_like(truth, class_index(benchmark, constant))) == pytest.approx(value, abs=1e-9)
    assert miou(benchmark, (truth + 1) % len(benchmark.class_names)) < 50
    shifted = [one if one in (0, 255, 1000) else one + 1 for one in CASES[name][1]]
    try:
        assert miou(opened(name, tmp_path / "shifted", shifted), truth) < 100
    except SSegError as error:  # most ids have no neighbour, and then it is said at once
        assert "\n" not in str(error)


def test_class_counts_are_those_of_the_literature(tmp_path):
    wanted = {
        "voc": 21,
        "voc20": 20,
        "context": 60,
        "context59": 59,
        "coco-object": 81,
        "coco-object-instances": 81,
        "coco-stuff": 171,
        "lvis": 1204,
        "imagenet-s-50": 51,
        "imagenet-s-300": 301,
        "imagenet-s-919": 920,
    }
    for name, count in wanted.items():
        assert len(opened(name, tmp_path / name).class_names) == count, name


def test_lvis_masks_hold_16_bits_and_preparing_goes_on_where_it_was(tmp_path, monkeypatch):
    opened("lvis", tmp_path)
    first, second = sorted((tmp_path / "prepared" / "lvis" / "val" / "val2017").glob("*.png"))
    assert np.asarray(Image.open(first)).max() == 1203
    second.unlink()
    written = []
    monkeypatch.setattr(prepare, "write_whole", lambda path, data: (written.append(path), path.write_bytes(data)))
    assert prepare_benchmark("lvis", tmp_path, partial=True) == 2 and written == [second]


def test_half_a_set_is_refused_unless_one_says_so(tmp_path):
    for name in CASES:
        CASES[name][0](tmp_path / name, CASES[name][1])
        with pytest.raises(SSegError, match="fetch the rest from .*--partial") as error:
            if name in NEEDS_PREPARE:
                prepare_benchmark(name, tmp_path / name)
            open_benchmark(name, tmp_path / name)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", CASES)
def test_a_missing_folder_is_one_sentence(name, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for root in ("nowhere", "empty"):
        assert evaluate.main(["--benchmark", name, "--root", str(tmp_path / root), "--model", "mini"]) == 2
        said = capsys.readouterr()
        assert len(said.err.strip().splitlines()) == 1 and not said.out


@pytest.mark.parametrize(
    ("name", "folder", "words"),
    [
        ("voc", "VOC2010", "holds VOC2010, but voc needs VOC2012"),
        ("context", "VOC2012", "holds VOC2012, but context needs VOC2010"),
        ("coco-stuff", "images/val2014", "holds val2014, but coco-stuff needs val2017"),
    ],
)
def test_another_year_is_named(name, folder, words, tmp_path):
    (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(SSegError, match=words):
        open_benchmark(name, tmp_path)


@pytest.mark.parametrize("name", ["voc", "coco-stuff", "imagenet-s-50"])
def test_masks_of_another_size_or_kind_are_refused(name, tmp_path):
    benchmark = opened(name, tmp_path)
    mask = benchmark.pairs[0][1]
    image = Image.open(mask)
    other = image.convert("RGB") if image.mode != "RGB" else image.convert("L")
    image.resize((6, 4), Image.Resampling.NEAREST).save(mask)
    with pytest.raises(SSegError, match="differ in size"):
        benchmark[0]
    other.save(mask)
    with pytest.raises(SSegError, match="colour picture|not RGB PNG"):
        benchmark[0]
    mask.unlink()
    with pytest.raises(SSegError, match="is missing"):
        benchmark[0]


def test_annotations_of_another_file_are_refused(tmp_path):
    layouts.context(tmp_path / "context", [0, 3, 2, 9])  # 3: one of the 459 that is not among the 59
    with pytest.raises(SSegError, match="not among the 59"):
        prepare_benchmark("context", tmp_path / "context", partial=True)
    layouts.instances(tmp_path / "lvis", [1, 2, 3, 4], LVIS[:-3], "lvis_v1_val.json", "images/val2017")
    with pytest.raises(SSegError, match="1,200 categories, LVIS v1 has 1,203"):
        prepare_benchmark("lvis", tmp_path / "lvis", partial=True)
    layouts.instances(tmp_path / "coco", [1, 2, 3, 4], COCO[:-1])
    with pytest.raises(SSegError, match="not COCO's 80"):
        prepare_benchmark("coco-object-instances", tmp_path / "coco", partial=True)
    (tmp_path / "coco" / "annotations" / "instances_val2017.json").write_text("{")
    with pytest.raises(SSegError, match="damaged"):
        prepare_benchmark("coco-object-instances", tmp_path / "coco", partial=True)
    with pytest.raises(SSegError, match="nothing to prepare"):
        prepare_benchmark("voc", tmp_path)


def test_imagenet_s_without_all_its_classes_is_refused(tmp_path):
    layouts.imagenet_s(tmp_path, [0, 1, 2, 3], TAGS[50])
    (tmp_path / "ImageNetS50" / "validation" / "n99999999").mkdir()
    with pytest.raises(SSegError, match="51 folders"):
        open_benchmark("imagenet-s-50", tmp_path, partial=True)


def test_the_command_prepares_and_says_how_many(tmp_path, capsys):
    CASES["context"][0](tmp_path, CASES["context"][1])
    arguments = ["--benchmark", "context", "--root", str(tmp_path), "--partial"]
    assert evaluate.main([*arguments, "--prepare"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"benchmark": "context", "prepared": 3}
    assert evaluate.main([*arguments, "--oracle", "--features", "pixels", "--resolution", "64", "--k", "2"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["classes"] == 60
