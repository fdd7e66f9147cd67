"""sseg segment --format: folders become data sets that other programs read."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import supervision
from PIL import Image
from pycocotools.coco import COCO

import sseg
from sseg.__main__ import main
from tests.conftest import ROOT
from train.evaluation.datasets.folder import FolderBenchmark

WORDS = ["frog", "pig|hog", "water"]
TYPED = ", ".join(WORDS)
ENDINGS = ("a.jpg", "b.png", "c.webp", "d.jpeg", "e.png")


@pytest.fixture
def scene():
    """A frog, a pig and more, which the weights `mini` know."""
    return Image.open(ROOT / "assets/examples/scene-1.webp").convert("RGB").resize((160, 128))


@pytest.fixture
def folder(scene, tmp_path):
    """Images of many kinds: also one on its side, and one that is none."""
    place = tmp_path / "photos"
    place.mkdir()
    for turn, name in enumerate(ENDINGS):
        scene.rotate(90 * turn, expand=True).save(place / name)
    exif = Image.Exif()
    exif[274] = 6
    scene.save(place / "f.jpg", exif=exif)
    return place


@pytest.fixture
def label(folder, tiny_weights, tmp_path, capsys):
    def call(*more, inputs=(folder,), phrases=TYPED, out="out", weights=tiny_weights):
        words = ["--phrases", phrases] if phrases else []
        out = ["--out", str(tmp_path / out)] if out else []
        rest = ["--weights", str(weights), "--background", "0.3", "--device", "cpu", *more]
        code = main(["segment", *map(str, inputs), *words, *out, *rest])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def expected(folder):
    """What the library itself finds: pixels of each phrase, by the name of the image."""
    segmenter = sseg.load("mini", device="cpu")
    found = {}
    for path in sorted(folder.iterdir()):
        answer = segmenter(path, WORDS, background=0.3)
        found[path.stem] = [int((answer.labels == i).sum()) for i in range(len(WORDS))]
    assert np.array(list(found.values())).any(0).all()  # each phrase is found somewhere
    return found


def one_sentence(text):
    return text.strip() and "\n" not in text.strip() and "Traceback" not in text


def pixels_of(detections):
    """Pixels of each class in supervision's masks."""
    masks = np.zeros((0, 1, 1)) if detections.mask is None else detections.mask
    return [int(masks[detections.class_id == i].sum()) for i in range(len(WORDS))]


def test_png_is_the_layout_that_evaluation_reads(label, expected, tmp_path):
    code, out, _ = label("--format", "png", weights="mini")
    assert code == 0 and "6 images labelled" in out and "pig|hog" in out
    assert (tmp_path / "out/classes.txt").read_text().splitlines() == ["background", *WORDS]
    benchmark = FolderBenchmark(tmp_path / "out")
    found = {one.name: [int((one.labels == i + 1).sum()) for i in range(len(WORDS))] for one in benchmark}
    assert found == expected and benchmark.class_names[0] == "background"
    assert Image.open(tmp_path / "out/masks/a.png").mode == "P"
    sheets = list((tmp_path / "out/contact-sheets").iterdir())
    assert [one.name for one in sheets] == ["0001.png"]


def test_a_phrase_called_background_leaves_id_0_another_name(label, tmp_path):
    assert label("--format", "png", phrases="dog, Background")[0] == 0
    assert (tmp_path / "out/classes.txt").read_text().splitlines() == ["other", "dog", "Background"]
    assert len(FolderBenchmark(tmp_path / "out")) == 6


@pytest.mark.parametrize("instances", [(), ("--instances", "parts")])
def test_coco_is_read_by_pycocotools_and_supervision(label, expected, tmp_path, instances):
    assert label("--format", "coco", *instances, weights="mini")[0] == 0
    coco = COCO(str(tmp_path / "out/annotations.json"))
    assert {one["file_name"] for one in coco.imgs.values()} == {p.name for p in (tmp_path / "out/images").iterdir()}
    for number, image in coco.imgs.items():
        name = image["file_name"].split(".")[0]
        assert Image.open(tmp_path / "out/images" / image["file_name"]).size == (image["width"], image["height"])
        found = [sum(one["area"] for one in coco.loadAnns(coco.getAnnIds([number], [i + 1]))) for i in range(3)]
        assert found == expected[name]
    data = supervision.DetectionDataset.from_coco(
        str(tmp_path / "out/images"), str(tmp_path / "out/annotations.json"), force_masks=True
    )
    assert data.classes == WORDS and len(data) == 6
    for path, _, detections in data:
        assert pixels_of(detections) == expected[os.path.basename(path).split(".")[0]]


def test_yolo_is_read_by_supervision(label, expected, tmp_path):
    assert label("--format", "yolo", weights="mini")[0] == 0
    out = tmp_path / "out"
    data = supervision.DetectionDataset.from_yolo(
        str(out / "images"), str(out / "labels"), str(out / "data.yaml"), force_masks=True
    )
    assert data.classes == WORDS and len(data) == 6
    for path, image, detections in data:
        found = pixels_of(detections)
        assert found == expected[os.path.basename(path).split(".")[0]]
        assert detections.mask is None or detections.mask.shape[1:] == image.shape[:2]


def test_an_image_on_its_side_stands_upright_in_the_data_set(label, folder, tmp_path):
    label("--format", "png")
    kept = Image.open(tmp_path / "out/images/f.jpg")
    assert kept.size == (128, 160) == Image.open(tmp_path / "out/masks/f.png").size and not kept.getexif()
    assert (tmp_path / "out/images/a.jpg").read_bytes() == (folder / "a.jpg").read_bytes()  # others as they are
    assert Image.open(tmp_path / "out/images/c.png").format == "PNG"  # what few programs read is written anew


@pytest.mark.parametrize("kind", ["png", "coco", "yolo"])
def test_bad_images_are_named_and_the_rest_is_whole(label, folder, tmp_path, kind):
    (folder / "aa.jpg").write_bytes((folder / "a.jpg").read_bytes()[:400])
    code, _, err = label("--format", kind)
    said = [line for line in err.splitlines() if "aa.jpg" in line]
    assert code == 2 and len(said) == 1
    assert "".join(sorted(p.stem for p in (tmp_path / "out/images").iterdir())) == "abcdef"
    if kind == "coco":
        names = [one["file_name"] for one in json.loads((tmp_path / "out/annotations.json").read_text())["images"]]
        assert [name.split(".")[0] for name in names] == list("abcdef")


def test_a_second_run_does_what_is_new_and_nothing_twice(label, folder, scene, tmp_path):
    label("--format", "coco")
    first = json.loads((tmp_path / "out/annotations.json").read_text())
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/images").iterdir()}
    scene.save(folder / "new.png")
    code, out, err = label("--format", "coco", inputs=(folder, folder / "new.png"))
    second = json.loads((tmp_path / "out/annotations.json").read_text())
    assert code == 0 and "6 of 7 images are labelled already" in err and "7 images labelled" in out
    assert second["images"][:6] == first["images"] and len(second["images"]) == 7
    assert second["annotations"][: len(first["annotations"])] == first["annotations"]
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())


def test_images_of_one_name_are_kept_apart(label, folder, scene, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    scene.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(other / "a.jpg")
    assert label("--format", "yolo", inputs=(folder / "a.jpg", other / "a.jpg"))[0] == 0
    assert {p.stem for p in (tmp_path / "out/labels").iterdir()} == {"a", "a-2"}
    assert (tmp_path / "out/images/a-2.jpg").read_bytes() == (other / "a.jpg").read_bytes()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"phrases": "dog, cat"}, "phrases"),
        ({"more": ("--sliding",)}, "sliding"),
        ({"more": ("--background", "0.5")}, "threshold"),
        ({"more": ("--format", "yolo")}, "format"),
    ],
)
def test_labels_of_other_questions_are_not_mixed(label, folder, tmp_path, change, word):
    label("--format", "png", inputs=(folder / "a.jpg",))
    before = {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    more = change.pop("more", ())
    code, out, err = label("--format", "png", *more, inputs=(folder,), **change)
    assert code == 2 and not out and one_sentence(err) and word in err
    assert before == {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()}


def test_a_folder_of_somebody_elses_is_left_alone(label, tmp_path):
    (tmp_path / "out/images").mkdir(parents=True)
    (tmp_path / "out/images/a.jpg").write_bytes(b"mine")
    code, out, err = label("--format", "png")
    assert code == 2 and not out and one_sentence(err) and "images" in err
    assert (tmp_path / "out/images/a.jpg").read_bytes() == b"mine"


@pytest.mark.parametrize("torn", [b'{"source": "/so', b""])
def test_a_run_that_was_killed_goes_on(label, tmp_path, torn):
    label("--format", "coco")
    journal = tmp_path / "out/sseg.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:4]) + torn)
    (tmp_path / "out/annotations.json").unlink()
    code, _, err = label("--format", "coco")
    assert code == 0 and "3 of 6" in err
    images = json.loads((tmp_path / "out/annotations.json").read_text())["images"]
    assert sorted(one["file_name"].split(".")[0] for one in images) == list("abcdef")
    assert journal.read_bytes().splitlines() == [line.rstrip() for line in lines]


def test_a_file_that_cannot_be_written_ends_the_run_and_keeps_what_was_done(label, tmp_path):
    label("--format", "png", inputs=(tmp_path / "photos/a.jpg",))
    (tmp_path / "out/masks/c.png").mkdir()  # in the way
    code, _, err = label("--format", "png")
    assert code == 2 and "cannot be written" in err and "Traceback" not in err
    (tmp_path / "out/masks/c.png").rmdir()
    assert len(FolderBenchmark(tmp_path / "out")) == 2  # a and b
    assert label("--format", "png")[0] == 0 and len(FolderBenchmark(tmp_path / "out")) == 6


def test_names_of_files_may_hold_anything(label, scene, tmp_path):
    place = tmp_path / "odd"
    place.mkdir()
    names = [b"\xff\xfe.jpg", "🦊 日本\n.jpg".encode(), b"a;b c.%d.jpg"]
    for name in names:
        scene.save(os.path.join(os.fsencode(place), name), format="JPEG")
    assert label("--format", "png", inputs=(place,))[0] == 0
    assert sorted(os.listdir(os.fsencode(tmp_path / "out/images"))) == sorted(names)
    assert len(FolderBenchmark(tmp_path / "out")) == 3


def test_a_damaged_journal_is_a_sentence(label, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/sseg.jsonl").write_text("no json\n")
    code, _, err = label("--format", "png")
    assert code == 2 and one_sentence(err) and "damaged" in err


def test_ctrl_c_keeps_what_is_done(folder, scene, tiny_weights, tmp_path):
    for number in range(300):
        scene.save(folder / f"x{number:03}.png")
    command = [sys.executable, "-m", "sseg", "segment", str(folder), "--phrases", "dog, sky", "--format", "coco"]
    command += ["--out", str(tmp_path / "out"), "--weights", str(tiny_weights), "--device", "cpu"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    for _ in range(1200):
        if len(list((tmp_path / "out/images").glob("*"))) >= 3:
            break
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    found = json.loads((tmp_path / "out/annotations.json").read_text())
    assert running.returncode == 130 and f"Stopped with {len(found['images'])} images labelled" in err
    assert 3 <= len(found["images"]) < 306 and "Traceback" not in err


def test_json_has_a_line_an_image_and_progress_is_on_stderr(label):
    code, out, err = label("--format", "yolo", "--json")
    reports = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and [one["labelled"] for one in reports] == ["a.jpg", "b.png", "c.png", "d.jpeg", "e.png", "f.jpg"]
    assert "6 of 6 images" in err and "left" in err


@pytest.mark.parametrize(
    "arguments",
    [
        {"more": ("--format", "voc")},
        {"more": ("--format", "png"), "out": None},
        {"more": ("--format", "png", "--suggest"), "phrases": None},
        {"more": ("--format", "png", "--instances", "parts")},
        {"more": ("--format", "coco", "--instances", "many")},
        {"more": ("--instances", "parts")},
        {"more": ("--suggest",)},
        {"phrases": None},
        {"more": ("--format", "png"), "phrases": " , "},
    ],
)
def test_options_that_do_not_go_together_are_a_sentence(label, arguments):
    code, out, err = label(*arguments.pop("more", ()), **arguments)
    assert code == 2 and not out and one_sentence(err) and len(err) < 250


# ---- without a format ----------------------------------------------------------------------------------------------
def test_a_folder_stands_for_its_images(label, tmp_path):
    code, out, _ = label("--json")
    names = [os.path.basename(json.loads(line)["image"]) for line in out.splitlines()]
    assert code == 0 and names == [*ENDINGS, "f.jpg"]
    assert {f"{n}.{k}" for n in "abcdef" for k in ("ids.png", "overlay.png", "json")} == {
        p.name for p in (tmp_path / "out").iterdir()
    }


def test_suggested_phrases_are_what_the_library_suggests(capsys):
    cat = str(ROOT / "assets/examples/cat.jpg")
    segmenter = sseg.load("photos", device="cpu")
    expected = segmenter.suggest(segmenter.encode(cat))
    assert main(["segment", cat, "--suggest", "--weights", "photos", "--device", "cpu", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["suggested"] is True and report["suggestions"] == json.loads(json.dumps(expected))
    assert [row["phrase"] for row in report["phrases"]] == [one["phrase"] for one in expected]
    assert main(["segment", cat, "--suggest", "--weights", "photos", "--device", "cpu"]) == 0
    assert "suggested by the weights: cat" in capsys.readouterr().out
