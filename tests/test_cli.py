"""python -m sseg, as it is typed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sseg.__main__ import _parser, main
from sseg.segmenter import BACKGROUND

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def photo(picture, tmp_path):
    path = tmp_path / "photo.png"
    picture.save(path)
    return str(path)


@pytest.fixture
def run(tiny_weights, capsys):
    def call(*arguments, weights=str(tiny_weights)):
        code = main([*arguments, *(["--weights", weights] if arguments[0] == "segment" else [])])
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


def test_command_line_and_library_begin_with_the_same_background():
    assert _parser().parse_args(["segment", "x.png", "--phrases", "dog"]).background == BACKGROUND
