"""The app as people's programs meet it: gradio_client over HTTP, and the command."""

import base64
import io
import json
import logging
import re
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from gradio_client import handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from pycocotools import mask as coco_mask

import sseg
from sseg import SSegError, checkpoint, images
from sseg.app import failures, main, weights
from sseg.app.build import build
from sseg.app.components import cards, examples
from sseg.app.components.viewer import STATIC, pack_ids
from sseg.app.downloads import download
from sseg.app.service import NEAR, VIEW_PIXELS, Recent, Service
from sseg.app.tabs.segment_gestures import SegmentGestures
from sseg.arguments import BACKGROUND
from sseg.open_vocabulary import OpenVocabularySegmenter
from sseg.paths import ASSETS
from tests.conftest import ROOT


def send(client, file, words="dog, grass", background=0.0):
    return client.predict(handle_file(file), words, background, api_name="/segment")


def test_public_events_are_the_documented_ones(client):
    assert set(client.view_api(return_format="dict", print_info=False)["named_endpoints"]) == {
        "/compare",
        "/segment", "/ask", "/suggest", "/explain_pixel", "/pseudo_masks", "/explain_patch", "/pseudo_masks_truth",
    }  # fmt: skip


def test_segment_answers_what_the_library_answers(client, path, loaded):
    view, found = send(client, path, "dog, grass|sky", 0.2)
    expected = loaded[0](path, "dog, grass|sky", background=0.2)

    packed = np.asarray(Image.open(view["mask"])).astype(int)
    assert (packed[..., 0] + 256 * packed[..., 1] == expected.best + 1).all()
    assert np.abs(packed[..., 2] / 255 - expected.confidence).max() <= 1 / 255
    assert Image.open(view["image"]).size == (120, 90)
    assert [s["phrase"] for s in view["segments"]] == ["dog", "grass|sky"]

    assert found["background"] == 0.2 and view["name"] == found["name"] == "holiday.png"
    for i, one in enumerate(found["phrases"]):
        mask = coco_mask.decode(one["rle"])
        assert (mask.astype(bool) == (expected.labels == i)).all()
        assert one["area"] == pytest.approx(mask.mean())


def test_other_weights_can_be_chosen_for_a_picture(client, path):
    photographs = sseg.load("photos", device="cpu")
    view, found = client.predict(handle_file(path), "dog, grass", 0.2, "photos", api_name="/segment")
    expected = photographs(path, "dog, grass", background=0.2)
    assert view["weights"] == found["weights"] == "photos"
    for one, mask in zip(found["phrases"], (expected.labels == i for i in range(2)), strict=True):
        assert (coco_mask.decode(one["rle"]).astype(bool) == mask).all()
    pixel = client.predict(found["picture"], "dog, grass", 30, 40, api_name="/explain_pixel")
    scores = [one["score"] for one in expected.explain(30, 40)["best"]]
    assert [one["score"] for one in pixel["best"]] == pytest.approx(scores, abs=1e-5)
    assert send(client, path)[1]["weights"] != "photos"  # the next question without a choice
    with pytest.raises(AppError):
        client.predict(handle_file(path), "dog", 0.2, "/etc", api_name="/segment")


def test_programs_can_ask_what_is_here(client):
    file = ASSETS / "examples" / "cat.jpg"
    photographs = sseg.load("photos", device="cpu")
    rgb, _ = images.read_sized(file, max_pixels=VIEW_PIXELS)
    expected = photographs.suggest(photographs.encode(rgb))
    found = client.predict(handle_file(file), "photos", api_name="/suggest")
    assert [one["phrase"] for one in found] == [one["phrase"] for one in expected] and found[0]["phrase"] == "cat"
    with pytest.raises(AppError, match="There is no picture yet"):
        client.predict(None, "photos", api_name="/suggest")


def test_other_words_about_the_same_picture_never_encode_it_again(client, path, loaded, monkeypatch):
    runs = []
    encode = loaded[0].encode
    monkeypatch.setattr(loaded[0], "encode", lambda *args: runs.append(1) or encode(*args))
    path.write_bytes(path.read_bytes() + b"tail")  # a file that no other test has sent
    _, first = send(client, path, "dog")
    view, again = send(client, path, "cat, sky")
    asked, third = client.predict(first["picture"], "red car", 0.0, api_name="/ask")
    _, last = client.predict("", "two", 0.0, api_name="/ask")
    assert len(runs) == 1
    assert first["picture"] == again["picture"] == third["picture"] == last["picture"]
    assert [one["phrase"] for one in third["phrases"]] == ["red car"] and asked["words"] == "red car"
    assert "words only" in view["note"]


def test_a_run_asks_the_weights_once(client, path, monkeypatch):
    """The picture and its figures come from one answer, and so does another threshold."""
    asked, ask = [], OpenVocabularySegmenter.ask

    def counted(self, encoded, phrases, *args, **kw):
        if isinstance(phrases, str):  # what is suggested is asked as a list, once a picture
            asked.append(phrases)
        return ask(self, encoded, phrases, *args, **kw)

    monkeypatch.setattr(OpenVocabularySegmenter, "ask", counted)
    path.write_bytes(path.read_bytes() + b"asked once")  # a file that no other test has sent
    _, found = send(client, path, "dog, sky", 0.2)
    assert asked == ["dog, sky"]
    _, again = client.predict(found["picture"], "dog, sky", 0.6, api_name="/ask")
    assert asked == ["dog, sky"] and (found["background"], again["background"]) == (0.2, 0.6)
    client.predict(found["picture"], "cat", 0.6, api_name="/ask")
    assert asked == ["dog, sky", "cat"]


def test_explain_pixel_names_the_five_best_phrases(client, path, loaded):
    _, found = send(client, path)
    words = "dog, cat, grass, sky, two, red car"
    answer = client.predict(found["picture"], words, 30, 40, api_name="/explain_pixel")
    scores = loaded[0](path, words).scores[:, 40, 30]
    best = np.sort(scores)[::-1]
    assert [one["score"] for one in answer["best"]] == pytest.approx(best[:5].tolist(), abs=1e-5)
    assert answer["margin"] == pytest.approx(float(best[0] - best[1]), abs=1e-5)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("", "Type what should be found"),
        (" , ;", "Type what should be found"),
        (", ".join(f"word {i}" for i in range(500)), "500 phrases"),
        ("x" * 10_000, "10,000 characters"),
    ],
)
def test_words_that_cannot_be_asked_get_one_sentence(client, path, words, says):
    with pytest.raises(AppError) as error:
        send(client, path, words)
    assert_sentence(error, says)


@pytest.mark.parametrize("kind", ["none", "text", "cut", "svg"])
def test_files_that_are_no_pictures_get_one_sentence(client, path, tmp_path, kind):
    file = tmp_path / f"{kind}.png"
    file.write_bytes({"text": b"hello", "cut": path.read_bytes()[:2000], "svg": b"<svg/>", "none": b""}[kind])
    with pytest.raises(AppError) as error:
        client.predict(None if kind == "none" else handle_file(file), "dog", 0.3, api_name="/segment")
    assert_sentence(error, "picture" if kind == "none" else file.name)
    assert send(client, path)[1]["phrases"]  # the app goes on


def test_a_threshold_or_a_pixel_out_of_range_gets_one_sentence(client, path):
    with pytest.raises(AppError) as error:
        send(client, path, "dog", 7)
    assert_sentence(error, "between 0 and 1")
    _, found = send(client, path)
    for x, y in ((120, 0), (0, -1)):
        with pytest.raises(AppError) as error:
            client.predict(found["picture"], "dog", x, y, api_name="/explain_pixel")
        assert_sentence(error, "from 0 to")
    with pytest.raises(AppError) as error:
        client.predict("never-seen", "dog", 0.3, api_name="/ask")
    assert_sentence(error, "no longer in memory")


def assert_sentence(error, says):
    text = str(error.value)
    assert says in text and failures.BUG not in text
    assert "\n" not in text and "Traceback" not in text and len(text) < 250


def odd_pictures(tmp_path, picture):
    rgb = picture.resize((40, 30))
    sixteen = Image.fromarray(np.asarray(rgb.convert("L")).astype(np.uint16) * 257)
    turned = Image.Exif()
    turned[274] = 6  # shown turned by 90 degrees
    saves = {
        "one.png": lambda f: rgb.resize((1, 1)).save(f),
        "cmyk.jpg": lambda f: rgb.convert("CMYK").save(f),
        "sixteen.png": lambda f: sixteen.save(f),
        "alpha.png": lambda f: rgb.convert("RGBA").save(f),
        "moving.gif": lambda f: rgb.save(f, save_all=True, append_images=[rgb.rotate(90)] * 2),
        "turned.jpg": lambda f: rgb.save(f, exif=turned),
        "wide.png": lambda f: rgb.resize((3000, 4)).save(f),
    }
    for name, save in saves.items():
        save(tmp_path / name)
        yield tmp_path / name


def test_odd_pictures_are_segmented(client, tmp_path, picture):
    sizes = {"one.png": (1, 1), "turned.jpg": (30, 40), "wide.png": (3000, 4)}
    for file in odd_pictures(tmp_path, picture):
        view, found = send(client, file)
        assert Image.open(view["mask"]).size == sizes.get(file.name, (40, 30)), file.name
        assert sum(one["area"] for one in found["phrases"]) == pytest.approx(1), file.name


def test_a_huge_picture_is_scaled_down_and_says_so(client, tmp_path):
    Image.new("L", (12_000, 9_000), 128).save(tmp_path / "huge.png", compress_level=1)
    view, found = send(client, tmp_path / "huge.png")
    height, width = found["size"]
    assert 0.9 * VIEW_PIXELS < width * height <= VIEW_PIXELS and width / height == pytest.approx(4 / 3, rel=0.01)
    assert "scaled down from 12000 × 9000" in view["note"]


def test_markup_in_phrases_comes_back_as_typed(client, path):
    typed = ["<img src=x onerror=alert(1)>", "${7*7}", "{{7*7}}", "x `${alert(1)}` y", "a \"quoted\" 'word' too"]
    view, found = send(client, path, ", ".join(typed))
    assert [one["phrase"] for one in view["segments"]] == typed == [one["phrase"] for one in found["phrases"]]


def test_the_templates_hold_no_value():
    template = "".join(path.read_text() for path in STATIC.glob("*.html"))
    assert "{" not in template and "$" not in template and "`" not in template  # gradio would evaluate it
    scripts = "".join(path.read_text() for path in STATIC.glob("*.js"))
    assert "innerHTML" not in scripts and "insertAdjacentHTML" not in scripts


def test_an_unknown_word_is_marked_and_gets_near_ones(client, path, loaded, monkeypatch):
    view, _ = send(client, path, "axolotl")
    assert view["segments"][0]["near"] == []  # nothing but its letters says what it means
    monkeypatch.setattr(OpenVocabularySegmenter, "knows_unseen", True)
    view, _ = send(client, path, "axolotl, the dogs, axolotl|dog")
    assert [one["known"] for one in view["segments"]] == [False, True, True]
    assert view["segments"][1]["near"] == []
    near = view["segments"][0]["near"]
    expected = [one for one in loaded[0].nearest("axolotl", 3) if one[1] >= NEAR]
    assert [(one["phrase"], one["similarity"]) for one in near] == expected
    assert not any(one["slip"] for one in near)


def test_a_slip_of_the_pen_gets_what_was_meant(client, path):
    view, _ = send(client, path, "grsas")
    first = view["segments"][0]["near"][0]
    assert first["phrase"] == "grass" and first["slip"]


def test_of_many_unseen_words_none_gets_near_ones(client, path):
    view, _ = send(client, path, ", ".join(f"grsas{letter}" for letter in "abcd"))
    assert [one["known"] for one in view["segments"]] == [False] * 4
    assert all(one["near"] == [] for one in view["segments"])


def test_without_a_threshold_the_weights_own_holds(client, path, loaded, monkeypatch):
    monkeypatch.setattr(loaded[0].model.config, "background", 0.3)
    view, found = send(client, path, background=None)
    assert view["background"] == found["background"] == 0.3
    view, found = client.predict(found["picture"], "dog", None, api_name="/ask")
    assert view["background"] == found["background"] == 0.3
    assert send(client, path, background=0)[1]["background"] == 0


def test_a_picture_without_words_is_read_and_waits_for_them(loaded, path):
    service = Service(loaded[0])
    view = service.look(str(path))
    assert view["segments"] == [] and view["words"] == "" and "Type what you see" in view["note"]
    assert not np.asarray(view["mask"])[..., :2].any() and view["background"] == BACKGROUND
    assert "words only" in service.ask(view["key"], "dog, grass")[0]["note"]


def test_a_bug_is_one_sentence_for_people_and_a_traceback_in_the_log(caplog):
    def broken():
        raise KeyError("internal detail")

    with caplog.at_level(logging.ERROR), pytest.raises(gr.Error) as error:
        failures.for_api(broken)()
    assert error.value.message == failures.BUG and "internal detail" in caplog.text
    assert failures.for_page(broken)({}) == {"error": failures.BUG}


def test_a_closed_run_stops_before_its_next_stage(loaded, path, monkeypatch):
    service = Service(loaded[0])
    monkeypatch.setattr(loaded[0], "encode", lambda *args: pytest.fail("the model ran for nobody"))
    gate = threading.Event()
    service.submit(gate.wait)  # the model is busy with another run
    run = SegmentGestures(service, []).run(str(path), "dog", 0.3)
    next(run)
    assert "Waiting" in str(next(run))
    run.close()  # what Stop and a closed page do
    gate.set()
    assert service.call(lambda: "free") == "free"  # behind the stopped run in the queue
    assert not service._held


def test_downloads_follow_the_threshold(loaded, path):
    service = Service(loaded[0])
    held = service.hold(str(path))
    answers = [download(service, held.key, "dog, grass", "ids", level) for level in (0.0, 1.0)]
    low, high = (np.asarray(Image.open(io.BytesIO(base64.b64decode(one["data"])))) for one in answers)
    assert (low > 0).all() and (high == 0).all()


def test_ids_above_255_survive_the_picture():
    ids = np.arange(600).reshape(20, 30)
    packed = np.asarray(pack_ids(ids, np.full(ids.shape, 0.5))).astype(int)
    assert (packed[..., 0] + 256 * packed[..., 1] == ids).all() and (packed[..., 2] == 127).all()


def test_the_least_recently_used_goes_first():
    recent = Recent(lambda values: len(values) <= 2)
    for key in "ab":
        recent.keep(key, key)
    recent.find("a")
    recent.keep("c", "c")
    assert (recent.find("a"), recent.find("b"), recent.find("c")) == ("a", None, "c")


def test_the_pages_configuration_is_plain_data(loaded):
    """Gradio copies it for every visitor; an object in it would drag the model along."""

    def walk(value):
        if isinstance(value, dict):
            return all(walk(one) for one in value.values())
        if isinstance(value, (list, tuple)):
            return all(walk(one) for one in value)
        return value is None or isinstance(value, (str, int, float))

    components = build(*loaded).get_config_file()["components"]
    assert all(walk(one) for one in components if one["type"] != "state")


def test_every_example_can_be_read_and_asked(loaded):
    shown = examples.load()
    assert [bool(one.weights) for one in shown] == [False] * (len(shown) - 2) + [True] * 2  # photographs, two scenes
    assert len(shown) >= 10
    for one in shown:
        assert sseg.images.read(one.path).ndim == 3 and loaded[0].embed(one.words.split(", ")) is not None


def test_shipped_pictures_are_small_and_carry_nothing_but_their_pixels():
    listed = {Path(one.path).name for one in examples.load() if Path(one.path).parent == examples.FOLDER}
    there = {path.name for path in examples.FOLDER.iterdir()} - {"examples.json", "CREDITS.md"}
    assert listed == there
    for name in there:
        picture = Image.open(examples.FOLDER / name)
        assert max(picture.size) <= 640 and (examples.FOLDER / name).stat().st_size < 120_000
        assert not picture.getexif() and not {"xmp", "icc_profile", "comment"} & set(picture.info)


def test_every_example_is_credited():
    credits = (examples.FOLDER / "CREDITS.md").read_text(encoding="utf-8")
    for one in examples.load():
        assert Path(one.path).name in credits and (one.weights or one.credit)


def test_scenes_take_the_weights_of_scenes_and_photographs_those_the_page_begins_with(loaded, monkeypatch):
    scene, photograph = examples.load()[-1], examples.load()[0]
    monkeypatch.setattr(checkpoint, "bundled", lambda *kind: {"photos": Path(), "mini": Path()})
    both = [examples.weights_for(one, Service(loaded[0], "photos")) for one in (photograph, scene)]
    assert both == ["photos", "mini"]
    own = [examples.weights_for(one, Service(loaded[0], "of-mine")) for one in (photograph, scene)]
    assert own == ["of-mine", "of-mine"]


def test_the_page_begins_with_a_photograph_already_segmented(client, loaded):
    config = client.config["components"]
    view = next(one["props"]["value"] for one in config if one["props"].get("label") == "view")
    first = examples.load()[0]
    assert view["words"] == first.words and view["weights"] == loaded[1].name
    strip = next(one["props"] for one in config if "chosen" in one["props"])
    assert strip["chosen"] == 0


def test_the_card_is_shown_without_front_matter(tiny_weights, tmp_path):
    text = "---\nlicense: apache-2.0\n---\n# Card\n\n![curve](a.png)\n\nTrained on X. More.\n"
    (tmp_path / "README.md").write_text(text)
    live = weights.Weights("mine", "folder", tmp_path)
    shown = cards.html(weights.card(live))
    assert "license" not in shown and "a.png" not in shown and "<h1>Card</h1>" in shown
    segmenter = sseg.load(tiny_weights)
    assert weights.status(segmenter, live)["sentence"].startswith("Trained on X. They know 6 phrases")
    assert weights.status(segmenter, live)["line"] == "weights: mine (folder) · CPU"


def test_damaged_weights_end_the_start_with_one_sentence(tmp_path, capsys):
    (tmp_path / "config.json").write_text("{")
    (tmp_path / "model.safetensors").write_text("")
    (tmp_path / "tokenizer.json").write_text("{}")
    assert main(["--weights", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.strip().splitlines()) == 1 and str(tmp_path) in said.err


def test_the_command_without_its_weights_says_so(tmp_path):
    command = [sys.executable, "app.py", "--weights", str(tmp_path / "nothing")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1 and "nothing" in done.stderr


def test_the_page_begins_with_the_background_of_the_library():
    html = (STATIC / "viewer.html").read_text(encoding="utf-8")
    slider = re.search(r'class="sv-background"[^>]* value="(\d+)".*?<output>([\d.]+)<', html)
    assert int(slider[1]) == round(100 * BACKGROUND) and float(slider[2]) == BACKGROUND


@pytest.mark.parametrize(("kind", "mime"), [("overlay", "image/png"), ("cutout", "image/png"), ("ids", "image/png"),
                                        ("coco", "application/json"), ("json", "application/json"),
                                        ("zip", "application/zip")])  # fmt: skip
def test_every_download_opens(loaded, path, kind, mime):
    service = Service(loaded[0])
    held = service.hold(str(path))
    answer = download(service, held.key, "dog, grass", kind, 0.0, 0.6, 1)
    data = base64.b64decode(answer["data"])
    assert answer["type"] == mime
    if mime == "image/png":
        picture = Image.open(io.BytesIO(data))
        picture.load()
        assert picture.mode == {"overlay": "RGB", "cutout": "RGBA", "ids": "P"}[kind]
    elif mime == "application/json":
        assert json.loads(data)
    else:
        names = zipfile.ZipFile(io.BytesIO(data)).namelist()
        assert {Path(name).suffix for name in names} >= {".png", ".json"}


def test_a_download_that_there_is_not_is_one_sentence(loaded, path):
    service = Service(loaded[0])
    held = service.hold(str(path))
    for kind, number in (("exe", 1), ("cutout", 9)):
        with pytest.raises(SSegError):
            download(service, held.key, "dog, grass", kind, 0.0, 0.6, number)
