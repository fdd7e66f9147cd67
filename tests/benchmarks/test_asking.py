"""The benchmarks that ask photographs as people do, with a model that answers by colour: every figure is known."""

import json
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from benchmarks import asking, first_try, synonyms, trials
from sseg.errors import SSegError
from train.evaluation.datasets.voc import CLASSES
from train.evaluation.registry import open_benchmark

HEIGHT, WIDTH = 40, 100
COLOURS = {"dog": (200, 40, 40), "sofa": (40, 160, 60), "person": (40, 60, 200), "wall": (220, 220, 90)}
SYNONYMS = {"couch": "sofa", "woman": "person", "puppy": "dog", "settee": "sofa"}


class ByColour:
    """Stands in for weights: a word is where its colour is; a word that it does not know is nowhere."""

    device = "cpu"

    def __init__(self, also=None):
        self.also, self.encoded, self.asked = also or {}, 0, []

    def encode(self, image):
        self.encoded += 1
        return image

    def ask(self, rgb, phrases, background):
        phrases = [one.strip() for one in phrases.split(",")] if isinstance(phrases, str) else list(phrases)
        self.asked.append((phrases, background))
        labels = np.full(rgb.shape[:2], -1, np.int32)
        for place, phrase in enumerate(phrases):
            colour = self.also.get(phrase) or COLOURS.get(SYNONYMS.get(phrase, phrase))
            if colour:
                labels[(abs(rgb.astype(int) - colour) < 12).all(2)] = place
        areas = [float((labels == i).mean()) for i in range(len(phrases))]
        return SimpleNamespace(labels=labels, phrases=phrases, areas=areas)


def stripes(*parts):
    """Names and widths -> names (H, W)."""
    return np.repeat(np.concatenate([[name] * width for name, width in parts])[None], HEIGHT, 0)


def save(names, picture, mask, ids, ignored=255):
    """The picture in the colours of the names, and the mask with their ids; "?" does not count."""
    picture.parent.mkdir(parents=True, exist_ok=True)
    mask.parent.mkdir(parents=True, exist_ok=True)
    rgb, labels = np.full((*names.shape, 3), 128, np.uint8), np.zeros(names.shape, np.uint8)
    for name in np.unique(names):
        rgb[names == name] = COLOURS.get(name, (128, 128, 128))
        labels[names == name] = ignored if name == "?" else ids.get(name, 0)
    Image.fromarray(rgb).save(picture, quality=100, subsampling=0)
    Image.fromarray(labels).save(mask)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Small sets under $SSEG_DATA: five photographs of VOC, three of COCO, one of places."""
    voc = tmp_path / "voc-mini" / "VOC2012"
    photographs = {
        "a": stripes(("dog", 50), ("grey", 50)),
        "b": stripes(("dog", 30), ("sofa", 69), ("person", 1)),  # the person covers 1 %
        "c": stripes(("grey", 100)),  # none of its classes
        "d": stripes(("sofa", 40), ("?", 60)),
        "e": stripes(("dog", 100)),
    }
    for name, names in photographs.items():
        ids = {one: CLASSES.index(one) for one in ("dog", "sofa", "person")}
        save(names, voc / "JPEGImages" / f"{name}.jpg", voc / "SegmentationClass" / f"{name}.png", ids)
    (voc / "ImageSets" / "Segmentation").mkdir(parents=True)
    (voc / "ImageSets" / "Segmentation" / "val.txt").write_text("\n".join(photographs))
    coco = tmp_path / "coco-val-mini"
    kinds = {"person": 1, "dog": 18, "couch": 63, "toaster": 80}
    for number, names in enumerate([stripes(("person", 60), ("sofa", 40)), stripes(("dog", 100)), photographs["c"]]):
        save(names, coco / "val2017" / f"{number}.jpg", coco / "objects" / "val2017" / f"{number}.png",
             {"person": 1, "dog": 18, "sofa": 63})  # fmt: skip
    (coco / "annotations").mkdir()
    categories = [{"id": number, "name": name} for name, number in kinds.items()]
    (coco / "annotations" / "instances_val2017.json").write_text(json.dumps({"categories": categories}))
    places = tmp_path / "places-mini"
    save(stripes(("wall", 50), ("sofa", 50)), places / "images" / "x.jpg", places / "masks" / "x.png",
         {"wall": 0, "sofa": 1})  # fmt: skip
    (places / "classes.txt").write_text("wall\nsofa\n")
    monkeypatch.setenv("SSEG_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def model(monkeypatch):
    """The model that the commands get, whatever the name."""
    segmenter = ByColour()
    for command in (first_try, synonyms, trials):
        monkeypatch.setattr(command.sseg, "load", lambda name: segmenter, raising=False)
    return segmenter


def run(command, capsys, *arguments):
    assert command.main(["--model", "any", *map(str, arguments)]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


# ---- asking ----------------------------------------------------------------------------------------------------------
def test_the_weights_own_threshold_is_the_default_where_they_have_one():
    assert asking.own_background(SimpleNamespace()) == asking.own_background(SimpleNamespace(background=None)) == 0.15
    assert asking.own_background(SimpleNamespace(background=0.4)) == 0.4


# ---- first_try -------------------------------------------------------------------------------------------------------
def test_a_model_that_knows_every_colour_finds_all_and_shows_nothing_else(data, model, capsys):
    got = run(first_try, capsys)
    assert (got["benchmark"], got["model"], got["seed"], got["half"]) == ("first_try", "any", 0, None)
    assert (got["found"], got["shown_wrongly"], got["background"], got["nothing"]) == (100, 0, 0.15, 0)
    assert got["sets"]["voc-mini"] == {"found": 100, "shown_wrongly": 0, "photographs": 4, "present": 6, "small": 0,
                                       "absent": 8, "nothing": 0}  # fmt: skip
    assert got["sets"]["coco-mini"]["photographs"] == 2 and got["sets"]["coco-mini"]["present"] == 3
    assert got["photographs"] == 6 and {"commit", "hardware"} <= got.keys()


def test_each_photograph_is_asked_for_its_classes_and_two_others_with_the_weights_own_threshold(data, model, capsys):
    model.background = 0.35
    assert run(first_try, capsys)["background"] == 0.35
    asked = {tuple(phrases[:-2]): phrases[-2:] for phrases, _ in model.asked}
    assert set(asked) == {("dog",), ("sofa",), ("person", "couch"), ("dog", "person", "sofa")}
    assert all(set(absent).isdisjoint({*present, "background"}) for present, absent in asked.items())
    assert {threshold for _, threshold in model.asked} == {0.35}
    first = [phrases for phrases, _ in model.asked]
    model.asked.clear()
    run(first_try, capsys)
    assert first == [phrases for phrases, _ in model.asked]


def test_halves_share_no_photograph_and_several_thresholds_have_a_line_each(data, model, capsys):
    even, odd = (run(first_try, capsys, "--half", half) for half in ("even", "odd"))
    assert even["sets"]["voc-mini"]["photographs"] == 2 and odd["sets"]["voc-mini"]["photographs"] == 2  # a, e; b, d
    got = run(first_try, capsys, "--limit", 1, "--background", 0.3, 0.1)
    assert [row["background"] for row in got["sweep"]] == [0.3, 0.1] and got["background"] == 0.3
    assert got["photographs"] == 2 and got["sweep"][0]["found"] == got["found"]


def test_small_classes_are_left_out_and_ignored_pixels_never_count():
    truth = np.full((10, 100), 1)
    truth[:, :40], truth[0, 40:45] = -1, 2  # of 600 labelled pixels 5 belong to class 2
    found = np.where(truth == 1, 0, -1)
    found[:, :40], found[5:, 41:43] = 3, 3  # what is ignored does not show an absent class; 10 pixels do
    count = first_try.tally(found, truth, [1, 2], 2)
    assert count == Counter(photographs=1, absent=2, nothing=0, wrong=1, small=1, present=1, hits=1)
    found[5:, 41:43] = 0
    assert first_try.tally(found, truth, [1, 2], 2)["wrong"] == 0
    assert first_try.tally(np.full_like(found, -1), truth, [1, 2], 2)["nothing"] == 1


def test_a_missing_set_is_one_sentence(data, model, monkeypatch, capsys):
    monkeypatch.setenv("SSEG_DATA", str(data / "nowhere"))
    for command in (first_try, synonyms):
        assert command.main(["--model", "any"]) == 2
        said = capsys.readouterr()
        assert "voc-mini" in said.err and len(said.err.strip().splitlines()) == 1 and not said.out


# ---- synonyms --------------------------------------------------------------------------------------------------------
@pytest.fixture
def words(tmp_path):
    path = tmp_path / "words.yaml"
    path.write_text("animals:\n  puppy: dog\n  whelp: dog\nfurniture:\n  settee: sofa\n  divan: sofa\n  lorry: truck\n"
                    "people:\n  lady: woman\n")  # fmt: skip
    return path


def test_found_as_known_counts_only_where_the_known_word_finds_its_class(data, model, words, capsys):
    got = run(synonyms, capsys, "--words", words)
    rows = {row["unseen"]: row for row in got["rows"]}
    # dog: a, b, e of VOC and one of COCO; sofa: b, d, one of COCO (as couch) and one of places; woman: one of COCO
    figures = {unseen: (row["cases"], row["known_found"], row["both_found"]) for unseen, row in rows.items()}
    assert figures == {"puppy": (4, 4, 4), "whelp": (4, 4, 0), "settee": (4, 4, 4), "divan": (4, 4, 0),
                       "lady": (1, 1, 0)}  # fmt: skip
    assert (got["pairs"], got["cases"], got["known_found"]) == (5, 17, 17)
    assert got["found_as_known"] == pytest.approx(100 * 8 / 17, abs=0.06) and got["found_as_known_pairs"] == 40
    assert got["control"] == 0 and rows["puppy"]["control"] not in ("puppy", "whelp")
    assert {"commit", "seed", "hardware", "background"} <= got.keys()


def test_each_photograph_is_encoded_once_and_asked_with_its_other_classes(data, model, words, capsys):
    run(synonyms, capsys, "--words", words)
    assert model.encoded == 4 + 2 + 1  # not those without a class of the list
    asked = [phrases for phrases, _ in model.asked]
    assert ["puppy", "person", "sofa"] in asked and asked.count(["dog", "person", "sofa"]) == 1
    assert ["settee", "wall"] in asked and ["lady", "couch"] in asked


def test_no_more_photographs_than_wanted_are_drawn(data, monkeypatch):
    monkeypatch.setattr(synonyms, "MOST", 2)
    drawn = synonyms.draw(open_benchmark("voc-mini"), {CLASSES.index("dog"), CLASSES.index("person")}, 0)
    assert sum(CLASSES.index("dog") in classes for classes in drawn.values()) == 2
    assert not any(CLASSES.index("person") in classes for classes in drawn.values())  # under 2 % of its picture


def test_enough_pairs_of_the_shipped_list_can_be_measured():
    from tests.train.data.test_held_out import PAIRS, PLACES
    from train.evaluation.datasets.coco_classes import THINGS

    sets = (CLASSES, THINGS, sorted(PLACES))
    measured = [u for u, known in PAIRS.items() if any(synonyms.class_of(known, one) is not None for one in sets)]
    assert len(measured) >= 45


# ---- trials ----------------------------------------------------------------------------------------------------------
def test_the_sheet_shows_every_trial_and_the_count_says_where_anything_was_found(data, model, tmp_path, capsys):
    entries = [
        {"image": f"voc-mini/VOC2012/JPEGImages/{name}.jpg", "words": words}
        for name, words in (("a", "dog, grass"), ("b", "lorry, tram"), ("e", "sofa"), ("d", "sofa, dog"))
    ]
    (tmp_path / "trials.json").write_text(json.dumps(entries))
    out = tmp_path / "new" / "sheet.png"
    assert trials.main(["--model", "any", "--trials", str(tmp_path / "trials.json"), "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("a.jpg: dog 50 %, grass 0 %") and lines[1].endswith("nothing found of lorry, tram")
    got = json.loads(lines[-1])
    assert (got["n"], got["painted"]) == (4, 2) and {"commit", "hardware", "background"} <= got.keys()
    page = np.asarray(Image.open(out))
    assert page.shape[1] == trials.WIDTH == 1600
    blue = tuple(trials.images.colors(1)[0])  # the square of "dog 50 %" and that of "sofa 40 %"
    assert (page == blue).all(2).sum() >= 2 * 12 * 12


def test_small_shares_are_said_and_long_words_stay_inside():
    assert [trials.per_cent(area) for area in (0, 0.001, 0.126, 1)] == ["0 %", "under 1 %", "13 %", "100 %"]
    words = ["a very long description " * 8, *["word"] * 30]
    picture = np.zeros((10, 10, 3), np.uint8)
    for areas in ([0.01] * 31, [0.0] * 31):
        lines = trials.legend(trials.Trial("x", picture, picture, words, areas))
        ends = [offset + trials.font(trials.LETTERS).getlength(text) for line in lines for offset, _, text, _ in line]
        assert len(lines) > 3 and max(ends) <= trials.CELL


@pytest.mark.parametrize("text", [None, "{", "[]", '[{"words": "dog"}]', '[{"image": "a.jpg", "words": 3}]', "3"])
def test_files_of_another_form_are_one_sentence(tmp_path, text):
    path = tmp_path / "trials.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SSegError, match="holds no trials"):
        trials.read_trials(path)


def test_a_missing_photograph_is_one_sentence(data, model, tmp_path, capsys):
    (tmp_path / "trials.json").write_text('[{"image": "nowhere.jpg", "words": "dog"}]')
    assert trials.main(["--model", "any", "--trials", str(tmp_path / "trials.json")]) == 2
    assert "nowhere.jpg" in capsys.readouterr().err
