"""python -m sseg, as it is typed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sseg import checkpoint
from sseg.__main__ import main
from tests.conftest import ROOT


@pytest.fixture
def photo(picture, tmp_path):
    path = tmp_path / "photo.png"
    picture.save(path)
    return str(path)


@pytest.fixture
def run(tiny_weights, capsys):
    def call(*arguments, weights=str(tiny_weights)):
        code = main([*arguments, *(["--weights", weights] if weights and arguments[0] == "segment" else [])])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def one_sentence(text):
    return text.strip() and "\n" not in text.strip() and "Traceback" not in text


def test_segment_as_a_command_of_its_own(photo, tiny_weights, tmp_path):
    command = [sys.executable, "-m", "sseg", "segment", photo, "--phrases", "dog, grass", "--json"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, "--weights", str(tiny_weights)], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 0 and done.stderr == ""
    report = json.loads(done.stdout)
    assert [row["phrase"] for row in report["phrases"]] == ["dog", "grass"] and report["image"] == photo


def test_json_has_a_line_a_picture(photo, run):
    code, out, _ = run("segment", photo, photo, "--phrases", "dog", "--json")
    assert code == 0 and [json.loads(line)["size"] for line in out.splitlines()] == [[90, 120]] * 2


def test_the_table_names_every_phrase(photo, run):
    code, out, _ = run("segment", photo, "--phrases", "dog, grass|lawn, axolotl", "--background", "0")
    assert code == 0
    assert "120 x 90" in out and "grass|lawn" in out and "have not seen" in out.split("axolotl")[1]


def test_out_writes_ids_overlay_and_json(photo, run, tmp_path):
    other = tmp_path / "elsewhere" / "photo.png"
    other.parent.mkdir()
    Image.open(photo).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(other)
    folder = tmp_path / "new" / "results"
    code, _, _ = run("segment", photo, str(other), "--phrases", "dog, sky", "--background", "0", "--out", str(folder))
    names = {f"photo{n}.{kind}" for n in ("", "-2") for kind in ("ids.png", "overlay.png", "json")}
    assert code == 0 and {p.name for p in folder.iterdir()} == names
    ids = np.asarray(Image.open(folder / "photo.ids.png"))
    report = json.loads((folder / "photo.json").read_text())
    assert [(ids == row["id"]).mean() for row in report["phrases"]] == pytest.approx(
        [r["area"] for r in report["phrases"]]
    )
    assert Image.open(folder / "photo.overlay.png").size == (120, 90)


def test_a_bad_picture_among_good_ones_is_told_and_the_rest_is_done(photo, run, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"nothing")
    code, out, err = run("segment", str(bad), photo, "--phrases", "dog", "--json")
    assert code == 2 and json.loads(out)["image"] == photo and '"bad.png"' in err and one_sentence(err)


@pytest.mark.parametrize(
    "arguments",
    [
        ("segment", "/nowhere.png", "--phrases", "dog"),
        ("segment", "PHOTO", "--phrases", " , "),
        ("segment", "PHOTO", "--phrases", ",".join(f"p{i}" for i in range(500))),
        ("segment", "PHOTO", "--phrases", "x" * 10000),
        ("segment", "PHOTO", "--phrases", "dog", "--background", "3"),
        ("segment", "PHOTO", "--phrases", "dog", "--out", "PHOTO"),
        ("segment", "PHOTO", "--phrases", "dog", "--device", "toaster"),
        ("info", "maxi"),
    ],
)
def test_mistakes_get_one_sentence_and_code_2(arguments, photo, run):
    code, out, err = run(*(photo if a == "PHOTO" else a for a in arguments))
    assert code == 2 and out == "" and one_sentence(err) and len(err) < 250


def test_info(tiny_weights, run):
    code, out, _ = run("info", str(tiny_weights), "--json")
    assert code == 0 and json.loads(out)["queries"] == 6
    code, out, _ = run("info", str(tiny_weights))
    assert code == 0 and "known phrases" in out


def test_command_line_and_library_begin_with_the_weights_own_background(tiny_weights, photo, run, tmp_path):
    strict = shutil.copytree(tiny_weights, tmp_path / "strict")
    config = json.loads((strict / "config.json").read_text())
    (strict / "config.json").write_text(json.dumps(config | {"background": 0.35}))
    for arguments, expected in (((), 0.35), (("--background", "0.2"), 0.2), (("--background", "0"), 0)):
        code, line, _ = run("segment", photo, "--phrases", "dog", "--json", *arguments, weights=str(strict))
        assert code == 0 and json.loads(line)["background"] == expected


def test_without_a_name_the_default_weights_answer(monkeypatch, tiny_weights, photo, run):
    monkeypatch.setattr(checkpoint, "bundled", lambda *kind: {} if kind else {"photos": tiny_weights})
    code, line, _ = run("segment", photo, "--phrases", "dog", "--json", weights=None)
    assert code == 0 and json.loads(line)["weights"] == "photos"
    code, line, _ = run("info", "--json")
    assert code == 0 and json.loads(line)["weights"] == "photos"


# ---- pseudo-masks --------------------------------------------------------------------------------------------------
FAST = ("--features", "pixels", "--resolution", "64", "--device", "cpu")


def test_pseudo_masks_tables_and_json_say_the_same(photo, run):
    code, out, err = run("pseudo-masks", photo, "--k", "4", *FAST)
    assert code == 0 and err == "" and "120 x 90" in out and "pixels (tokens)" in out
    code, line, _ = run("pseudo-masks", photo, "--k", "4", "--json", *FAST)
    report = json.loads(line)
    assert code == 0 and report["image"] == photo and report["k"] == 4 and report["size"] == [90, 120]
    table = [row.split() for row in out.splitlines()[3:]]
    assert table == [
        [str(row["id"]), f"{100 * row['area']:.1f}", f"{row['spread']:.2f}", str(row["nearest"]),
         f"{100 * row['border']:.1f}"] for row in report["clusters"]]  # fmt: skip


def test_pseudo_masks_with_outlines_that_follow_the_picture(photo, run):
    reports = []
    for outlines in ("cells", "picture"):
        code, line, _ = run("pseudo-masks", photo, "--k", "4", "--outlines", outlines, "--json", *FAST)
        assert code == 0
        reports.append(json.loads(line))
    assert [one["outlines"] for one in reports] == ["cells", "picture"]
    assert reports[0]["inertia"] == reports[1]["inertia"]  # the same clusters
    assert reports[0]["clusters"][0]["rle"] != reports[1]["clusters"][0]["rle"]
    code, out, err = run("pseudo-masks", photo, "--outlines", "crf", *FAST)
    assert code == 2 and out == "" and "cells or picture" in err


def test_pseudo_masks_of_folders_go_by_name_and_skip_what_is_damaged(photo, run, tmp_path):
    folder, results = tmp_path / "folder", tmp_path / "results"
    folder.mkdir()
    for name in ("b.jpg", "a.png", "c.webp"):
        Image.open(photo).save(folder / name)
    (folder / "aa.png").write_bytes(Path(photo).read_bytes()[:300])
    (folder / "notes.txt").write_text("no picture")
    code, out, err = run("pseudo-masks", str(folder), photo, "--json", "--out", str(results), *FAST)
    assert code == 2 and '"aa.png"' in err and one_sentence(err)
    names = [Path(json.loads(line)["image"]).name for line in out.splitlines()]
    assert names == ["a.png", "b.jpg", "c.webp", "photo.png"]
    kinds = ("ids.png", "overlay.png", "json")
    expected = {f"{name}.{kind}" for name in ("a", "b", "c", "photo") for kind in kinds}
    assert {path.name for path in results.iterdir()} == expected | {"contact-sheet.png"}
    ids, report = np.asarray(Image.open(results / "a.ids.png")), json.loads((results / "a.json").read_text())
    assert ids.shape == (90, 120) and set(np.unique(ids)) == {row["id"] for row in report["clusters"]}
    assert report == json.loads(out.splitlines()[0])
    assert Image.open(results / "a.overlay.png").size == (120, 90)


def test_pseudo_masks_of_many_pictures_need_more_than_a_page(photo, run, tmp_path):
    code, _, _ = run("pseudo-masks", *[photo] * 13, "--out", str(tmp_path / "many"), *FAST)
    sheets = sorted(path.name for path in (tmp_path / "many").glob("contact-sheet*"))
    assert code == 0 and sheets == ["contact-sheet-2.png", "contact-sheet.png"]


def test_pseudo_masks_against_a_truth(photo, run, tmp_path):
    ids = np.full((90, 120), 3, np.uint8)
    ids[50:], ids[:9] = 12, 255
    masks = tmp_path / "masks"
    masks.mkdir()
    Image.fromarray(ids).save(masks / "photo.png")
    code, line, _ = run("pseudo-masks", photo, "--truth", str(masks / "photo.png"), "--json", *FAST)
    score = json.loads(line)["truth"]
    assert code == 0 and score["oracle_miou"] > 70 and [one["id"] for one in score["classes"]] == [3, 12]
    code, out, _ = run("pseudo-masks", photo, "--truth", str(masks), *FAST)
    assert code == 0 and f"oracle mIoU {score['oracle_miou']:.2f} %" in out
    assert [row.split()[-1] for row in out.splitlines()[3:11]] == [str(winner) for winner in score["assigned"]]
    other = tmp_path / "other.png"
    Image.open(photo).save(other)
    code, out, err = run("pseudo-masks", photo, str(other), "--truth", str(masks), "--json", *FAST)
    assert code == 2 and "other.png" in err and one_sentence(err) and json.loads(out)["truth"] == score
    code, out, err = run("pseudo-masks", photo, str(other), "--truth", str(masks / "photo.png"), *FAST)
    assert code == 2 and out == "" and "folder" in err and one_sentence(err)


@pytest.mark.parametrize(
    "arguments",
    [
        ("/nowhere.png",),
        ("EMPTY",),
        ("PHOTO", "PHOTO", "--k", "0"),
        ("PHOTO", "PHOTO", "--k", "99999"),
        ("PHOTO", "--resolution", "8"),
        ("PHOTO", "--seed", "-1"),
        ("PHOTO", "--method", "magic"),
        ("PHOTO", "--features", "nonsense"),
        ("PHOTO", "--facet", "nonsense"),
        ("PHOTO", "--device", "toaster"),
        ("PHOTO", "--truth", "/nowhere.png"),
        ("PHOTO", "--truth", "PHOTO"),
        ("PHOTO", "--out", "PHOTO"),
    ],
)
def test_mistakes_with_pseudo_masks_get_one_sentence_and_code_2(arguments, photo, run, tmp_path):
    (tmp_path / "empty").mkdir()
    words = {"PHOTO": photo, "EMPTY": str(tmp_path / "empty")}
    code, out, err = run("pseudo-masks", *FAST, *(words.get(word, word) for word in arguments))
    assert code == 2 and out == "" and one_sentence(err) and len(err) < 250


def test_compare_two_weights_on_a_folder_with_truths(photo, tiny_weights, tmp_path, capsys):
    folder = tmp_path / "pictures"
    folder.mkdir()
    picture = Image.open(photo)
    truth = np.zeros((90, 120), np.uint8)
    truth[:, :60], truth[0] = 1, 255
    for name in ("one", "two"):
        picture.save(folder / f"{name}.png")
        (tmp_path / "truths").mkdir(exist_ok=True)
        Image.fromarray(truth).save(tmp_path / f"truths/{name}.png")
    (folder / "broken.jpg").write_bytes(b"no picture")
    weights = ["--weights", str(tiny_weights), "--plus", str(tiny_weights)]
    words = ["--phrases", "dog, grass", "--plus-phrases", "sky, dog"]
    out = ["--truth", str(tmp_path / "truths"), "--out", str(tmp_path / "out"), "--json"]
    code = main(["compare", str(folder), *weights, *words, *out])
    printed, errors = capsys.readouterr()
    assert code == 2 and one_sentence(errors) and "broken.jpg" in errors
    one, two, total = map(json.loads, printed.splitlines())
    assert {row["name"] for row in one["areas"]} <= {"dog", "grass", "sky", None} and total["pictures"] == 2
    assert total["miou"] == one["miou"] == two["miou"] and total["agreement"] == one["agreement"]
    assert total["mended"] - total["broken"] == pytest.approx(one["mended"] - one["broken"])
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {f"{n}.{e}" for n in ("one", "two") for e in ("a.png", "b.png", "json")} | {"contact-sheet.png"}
    ids = np.asarray(Image.open(tmp_path / "out/one.a.png"))
    assert (ids == 1).mean() == pytest.approx(next(row["a"] for row in one["areas"] if row["name"] == "dog"))


def test_compare_without_words_is_one_sentence(photo, tiny_weights, capsys):
    code = main(["compare", photo, "--weights", str(tiny_weights), "--plus", str(tiny_weights)])
    printed, errors = capsys.readouterr()
    assert code == 2 and one_sentence(errors) and "--phrases" in errors and not printed


def test_the_page_is_a_command_too(tiny_weights, capsys):
    assert main(["app", "--weights", str(tiny_weights), "--port", "99999"]) == 2  # its options are those of app.py
    printed, errors = capsys.readouterr()
    assert one_sentence(errors) and "99999" in errors and not printed
