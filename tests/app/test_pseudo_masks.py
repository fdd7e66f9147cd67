"""The Pseudo-masks tab as programs meet it: gradio_client over HTTP, against the library and the command."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from gradio_client import handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from pycocotools import mask as coco_mask
from sklearn.metrics import adjusted_rand_score

from sseg.__main__ import main
from sseg.app import cells, failures
from sseg.app.cluster_service import ClusterService, Settings
from sseg.app.panel_service import PanelService
from sseg.app.running import Run
from sseg.app.service import VIEW_PIXELS, Service
from sseg.app.tabs import pseudo_masks
from sseg.pseudo_masks.masker import PseudoMasker

SETTINGS = ("pixels", 5, "", 224, 0, "kmeans")  # features, k, facet, resolution, seed, method


@pytest.fixture
def clusters(loaded):
    return ClusterService(Service(loaded[0]))


@pytest.fixture
def truth(tmp_path):
    """A palette PNG of the picture's four things and the ground and sky; a stripe of 255 does not count."""
    ids = np.zeros((90, 120), np.uint8)
    ids[50:] = 1
    y, x = np.mgrid[:90, :120]
    ids[(x - 35) ** 2 + (y - 45) ** 2 <= 400] = 2
    ids[40:76, 70:106] = 7
    ids[:, :3] = 255
    mask = Image.fromarray(ids)
    mask.putpalette([int(v) for v in np.random.default_rng(0).integers(0, 256, 768)])
    mask.save(tmp_path / "truth.png")
    return tmp_path / "truth.png"


def send(client, file, settings=SETTINGS):
    return client.predict(handle_file(file), *settings, api_name="/pseudo_masks")


def judge(client, file, mask, settings=SETTINGS, names=""):
    mask = mask and handle_file(mask)
    return client.predict(handle_file(file), mask, *settings, names, api_name="/pseudo_masks_truth")[1]


def assert_sentence(error, says):
    text = str(error.value)
    assert says in text and failures.BUG not in text
    assert "\n" not in text and "Traceback" not in text and "/tmp" not in text and len(text) < 300


def test_the_answer_is_the_librarys(client, path):
    view, found = send(client, path)
    expected = PseudoMasker("pixels")(path, k=5, resolution=224)

    packed = np.asarray(Image.open(view["mask"])).astype(int)
    assert (packed[..., 0] + 256 * packed[..., 1] == expected.ids + 1).all()
    assert Image.open(view["image"]).size == (120, 90)
    assert (np.asarray(Image.open(view["colours"])) == expected.features.pca()).all()
    assert len({tuple(s["color"]) for s in view["segments"]}) == len(view["segments"]) == 5

    assert found["name"] == view["name"] == "holiday.png" and found["key"] == view["key"]
    assert "120 × 90 pixels" in found["note"] and "32 × 24 patches" in found["note"]
    assert {name: found[name] for name in expected.to_json()} == expected.to_json()
    for i, one in enumerate(found["clusters"]):
        assert (coco_mask.decode(one["rle"]).astype(bool) == (expected.labels == i)).all()


def test_every_setting_reaches_the_library(client, path):
    _, found = send(client, path, ("sseg", 4, "tokens", 336, 3, "spectral"))
    expected = PseudoMasker("sseg")(path, k=4, seed=3, resolution=336, method="spectral")
    assert found["clusters"] == expected.to_json()["clusters"]
    assert [found[name] for name in ("features", "k", "facet", "resolution", "seed", "method")] == [
        "sseg", 4, "tokens", 336, 3, "spectral",
    ]  # fmt: skip


@pytest.mark.parametrize("facet", ["tokens", "maps"])
def test_the_encoder_of_photos_divides_by_either_facet(client, path, facet):
    _, found = send(client, path, ("encoder", 4, facet, 224, 0, "kmeans"))
    assert found["clusters"] == PseudoMasker("encoder", facet)(path, k=4, resolution=224).to_json()["clusters"]
    assert (found["features"], found["facet"]) == ("encoder", facet)


def test_run_lengths_follow_the_picture_where_asked_for(client, path):
    view, found = send(client, path, (*SETTINGS, "picture"))
    cells, fine = (PseudoMasker("pixels")(path, k=5, resolution=224, outlines=how) for how in ("cells", "picture"))
    assert found["outlines"] == "picture" and found["clusters"] == fine.to_json()["clusters"]
    assert found["clusters"] != cells.to_json()["clusters"]
    packed = np.asarray(Image.open(view["mask"])).astype(int)  # the viewer's outlines are those of patches until asked
    assert (packed[..., 0] == cells.ids + 1).all()
    with pytest.raises(AppError) as error:
        send(client, path, (*SETTINGS, "wavy"))
    assert_sentence(error, "cells or picture")


@pytest.mark.parametrize("source", ["pixels", "auto"])
def test_another_k_never_computes_the_features_again(client, path, monkeypatch, source):
    runs = []
    encode = PseudoMasker.encode
    monkeypatch.setattr(PseudoMasker, "encode", lambda *args, **kw: runs.append(1) or encode(*args, **kw))
    path.write_bytes(path.read_bytes() + source.encode())  # a file that no other test has sent
    for k in (5, 9, 2):
        view, found = send(client, path, (source, k, "", 224, 0, "kmeans"))
        assert len(found["clusters"]) == k
    taken = found["features"], 5, found["facet"], 224, 0, "kmeans"
    send(client, path, taken)  # what "auto" and an empty facet stand for
    send(client, path, (source, *taken[1:]))
    assert len(runs) == 1 and "features from memory" in view["note"]


def test_a_slider_move_takes_less_than_150_milliseconds(clusters, tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (768, 1024, 3), dtype=np.uint8)).save(tmp_path / "photo.png")
    asked = Settings("pixels", resolution=448)
    view = clusters.make(str(tmp_path / "photo.png"), asked, None)
    spent = []
    for k in (4, 8, 12, 16, 20, 24):
        start = time.thread_time()  # of this thread: other work on the machine does not count
        view = clusters.make(str(tmp_path / "photo.png"), Settings("pixels", k), view)
        spent.append(time.thread_time() - start)
    assert sorted(spent)[len(spent) // 2] < 0.15, spent


def test_explain_patch_is_the_librarys_similarity(client, path):
    _, found = send(client, path)
    heat, answer = client.predict(found["key"], 30, 44, api_name="/explain_patch")
    features = PseudoMasker("pixels").encode(path, 224)
    row, column = 44 * 24 // 90, 30 * 32 // 120
    similarity = features.similarity(row, column)
    assert (answer["row"], answer["column"]) == (row, column)
    assert np.abs(np.array(answer["map"]) - similarity).max() < 1e-4
    assert answer["alike"] == pytest.approx((similarity >= 0.5).mean(), abs=1e-4)
    ids = PseudoMasker("pixels").cluster(features, 5).ids
    assert answer["cluster"] == ids[row, column]
    means = [float(similarity[ids == one["id"]].mean()) for one in answer["clusters"]]
    assert [one["similarity"] for one in answer["clusters"]] == pytest.approx(means, abs=1e-4)

    heat = np.asarray(Image.open(heat).convert("RGB")).astype(int)
    assert heat.shape == (90, 120, 3)
    assert heat[44, 30, 0] > heat[44, 30, 2]  # warm at the patch itself
    coldest = np.unravel_index(similarity.argmin(), similarity.shape)
    pixel = heat[coldest[0] * 90 // 24 + 2, coldest[1] * 120 // 32 + 2]
    assert pixel[2] > pixel[0]


def test_the_truth_is_judged_as_by_library_and_command(client, path, truth, capsys):
    score = judge(client, path, truth)
    expected = PseudoMasker("pixels")(path, k=5, resolution=224).against(truth)
    assert {name: score[name] for name in expected} == expected
    assert {one["id"] for one in score["classes"]} == {0, 1, 2, 7} and score["oracle_miou"] > 50

    command = ["pseudo-masks", str(path), "--features", "pixels", "--k", "5", "--resolution", "224"]
    assert main([*command, "--truth", str(truth), "--json"]) == 0
    assert f'"oracle_miou": {score["oracle_miou"]}' in capsys.readouterr().out


def test_classes_can_be_named(client, path, truth):
    score = judge(client, path, truth, names="sky, , <b>disc</b>, , , , , box")
    assert [one["name"] for one in score["classes"]] == ["sky", "1", "<b>disc</b>", "box"]
    with pytest.raises(AppError) as error:
        judge(client, path, truth, names="sky, grass")
    assert_sentence(error, "names only for 0 to 1")


@pytest.mark.parametrize("kind", ["none", "text", "colour", "size", "jpeg"])
def test_a_mask_that_is_none_gets_one_sentence(client, path, truth, tmp_path, kind):
    file = tmp_path / f"{kind}.png"
    says = {"none": "no ground truth", "text": "cannot be read", "colour": "colour picture",
            "size": "60 x 45 pixels, the picture 120 x 90", "jpeg": "JPEG"}[kind]  # fmt: skip
    saves = {
        "none": lambda: None,
        "text": lambda: file.write_text("hello"),
        "colour": lambda: Image.open(truth).convert("RGB").save(file),
        "size": lambda: Image.open(truth).resize((60, 45)).save(file),
        "jpeg": lambda: Image.open(truth).convert("L").save(file, "jpeg"),
    }
    saves[kind]()
    with pytest.raises(AppError) as error:
        judge(client, path, None if kind == "none" else file)
    assert_sentence(error, says)
    assert judge(client, path, truth)["oracle_miou"]  # the app goes on


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (("pixels", 1, "", 224, 0, "kmeans"), "from 2 to 24"),
        (("pixels", 25, "", 224, 0, "kmeans"), "from 2 to 24"),
        (("pixels", 2.5, "", 224, 0, "kmeans"), "whole number"),
        (("pixels", None, "", 224, 0, "kmeans"), "whole number"),
        (("pixels", 5, "", 10, 0, "kmeans"), "resolution"),
        (("pixels", 5, "", 224, -1, "kmeans"), "seed"),
        (("pixels", 5, "", 224, 0, "magic"), "kmeans or spectral"),
        (("pixels", 5, "keys", 224, 0, "kmeans"), "facet"),
        (("rainbow", 5, "", 224, 0, "kmeans"), "rainbow"),
        (("sseg:/etc", 5, "", 224, 0, "kmeans"), "choose one of"),  # no reading of the server's folders
        (("dino", 5, "", 224, 0, "kmeans"), "dino"),  # the tests have no network
    ],
)
def test_settings_that_cannot_be_get_one_sentence(client, path, settings, says):
    with pytest.raises(AppError) as error:
        send(client, path, settings)
    assert_sentence(error, says)
    assert send(client, path)[1]["clusters"]


@pytest.mark.parametrize("kind", ["none", "text", "cut", "svg"])
def test_files_that_are_no_pictures_get_one_sentence(client, path, tmp_path, kind):
    file = tmp_path / f"{kind}.png"
    file.write_bytes({"text": b"hello", "cut": path.read_bytes()[:2000], "svg": b"<svg/>", "none": b""}[kind])
    with pytest.raises(AppError) as error:
        client.predict(None if kind == "none" else handle_file(file), *SETTINGS, api_name="/pseudo_masks")
    assert_sentence(error, "picture" if kind == "none" else file.name)
    assert send(client, path)[1]["clusters"]


ODD = {
    "cmyk.jpg": lambda rgb, f: rgb.convert("CMYK").save(f),
    "sixteen.png": lambda rgb, f: Image.fromarray(np.asarray(rgb.convert("L")).astype(np.uint16) * 257).save(f),
    "alpha.png": lambda rgb, f: rgb.convert("RGBA").save(f),
    "moving.gif": lambda rgb, f: rgb.save(f, save_all=True, append_images=[rgb.rotate(90)] * 2),
    "wide.png": lambda rgb, f: rgb.resize((3000, 4)).save(f),
    "one.png": lambda rgb, f: rgb.resize((1, 1)).save(f),
    "black.png": lambda rgb, f: Image.new("RGB", (40, 30)).save(f),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_pictures_are_divided(client, tmp_path, picture, name):
    ODD[name](picture.resize((40, 30)), tmp_path / name)
    view, found = send(client, tmp_path / name)
    assert Image.open(view["image"]).size == {"one.png": (1, 1), "wide.png": (3000, 4)}.get(name, (40, 30))
    assert sum(one["area"] for one in found["clusters"]) == pytest.approx(1)
    client.predict(found["key"], 0, 0, api_name="/explain_patch")


def test_a_huge_picture_is_shown_smaller_and_says_so(client, tmp_path):
    Image.new("L", (12_000, 9_000), 128).save(tmp_path / "huge.png", compress_level=1)
    view, found = send(client, tmp_path / "huge.png")
    width, height = Image.open(view["image"]).size
    assert 0.9 * VIEW_PIXELS < width * height <= VIEW_PIXELS and width / height == pytest.approx(4 / 3, rel=0.01)
    assert "shown at " in found["note"]


def test_a_question_about_a_forgotten_answer_or_a_place_outside_gets_one_sentence(client, path):
    with pytest.raises(AppError) as error:
        client.predict("never/seen", 0, 0, api_name="/explain_patch")
    assert_sentence(error, "no longer in memory")
    _, found = send(client, path)
    for x, y in ((120, 0), (0, -1)):
        with pytest.raises(AppError) as error:
            client.predict(found["key"], x, y, api_name="/explain_patch")
        assert_sentence(error, "must be a whole number from 0 to")


def test_a_closed_run_stops_before_the_features(clusters, path, monkeypatch):
    monkeypatch.setattr(PseudoMasker, "encode", lambda *args, **kw: pytest.fail("the network ran for nobody"))
    gate = threading.Event()
    clusters.submit(gate.wait)  # another run is under way
    run = pseudo_masks._runner(clusters)(str(path), "pixels", 8, None, 224, 0, "kmeans", {})
    next(run)
    assert "Waiting" in str(next(run))
    run.close()  # what Stop and a closed page do
    gate.set()
    assert clusters.submit(lambda: "free").result() == "free"  # behind the stopped run in the queue
    assert not clusters._held


def test_a_division_of_held_features_does_not_wait_for_the_network(clusters, path):
    clusters.make(str(path), Settings("pixels"), None)
    gate = threading.Event()
    clusters.submit(gate.wait)  # somebody's network is busy
    asked = Settings("pixels", 3)
    run = clusters.run(Run(1), clusters.make, str(path), asked, None)
    with pytest.raises(StopIteration) as end:  # a generator's result
        while True:
            next(run)
    gate.set()
    assert len(end.value.value["segments"]) == 3


# ---- panels ----------------------------------------------------------------------------------------------------------
def quiet(stage):
    pass


def test_curves_are_the_librarys(clusters, path):
    panel_service, asked = PanelService(clusters), Settings("pixels", resolution=224)
    points = [panel_service.point(str(path), asked, k, quiet) for k in range(2, 25)]
    features = PseudoMasker("pixels").encode(path, 224)
    assert points == features.elbow(range(2, 25))
    assert panel_service.curves(points)["best"] == features.best_k()
    assert panel_service.known(str(path), asked, 7) == points[5]


def test_three_seeds_agree_as_counted_independently(clusters, path):
    shown = PanelService(clusters).seeds(str(path), Settings("pixels", 6, resolution=224, seed=4), None, quiet)
    masker = PseudoMasker("pixels")
    ids = [masker(path, k=6, seed=seed, resolution=224).ids.ravel() for seed in (4, 5, 6)]
    pairs = [adjusted_rand_score(ids[a], ids[b]) for a, b in ((0, 1), (0, 2), (1, 2))]
    assert shown["headline"] == f"{np.mean(pairs):.2f}"
    assert [row[1] for row in shown["rows"]] == [f"{value:.2f}" for value in pairs]
    assert [one["caption"] for one in shown["figures"]] == ["Seed 4", "Seed 5", "Seed 6"]


def test_a_source_agrees_with_itself_and_less_with_another(clusters, path):
    panel_service, asked = PanelService(clusters), Settings("pixels", 6, resolution=224)
    assert panel_service.beside(str(path), asked, None, asked, quiet)["headline"] == "1.00"
    other = panel_service.beside(str(path), asked, None, replace(asked, features="sseg"), quiet)
    assert float(other["headline"]) < 1 and len(other["figures"]) == 4


def test_the_truths_table_says_which_cluster_took_which_class(clusters, path, truth):
    asked = Settings("pixels", 5, resolution=224)
    shown, score = PanelService(clusters).truth(str(path), asked, None, str(truth), "", quiet)
    assert shown["headline"] == f"{score['oracle_miou']:.2f} %"
    took = {row[0]: {int(chip["name"]) for chip in row[3]} for row in shown["rows"]}
    assert took == {str(one["id"]): {i for i, a in enumerate(score["assigned"]) if a == one["id"]}
                    for one in score["classes"]}  # fmt: skip


# ---- cells -------------------------------------------------------------------------------------------------------
def test_clusters_keep_their_colours_while_k_changes():
    before = np.arange(36).reshape(6, 6) // 12  # 0, 1, 2 in bands of two rows
    swapped = np.array([2, 0, 1])[before]
    assert cells.palette_places(swapped, before, [0, 1, 2]) == [1, 2, 0]
    more = before.copy()
    more[5, 3:] = 3
    assert cells.palette_places(more, before, [7, 1, 2]) == [7, 1, 2, 0]
    fewer = np.minimum(before, 1)
    assert cells.palette_places(fewer, before, [4, 9, 3])[0] == 4
    assert cells.palette_places(before) == [0, 1, 2]


@pytest.mark.parametrize("seed", range(5))
def test_colours_are_never_shared(seed):
    rng = np.random.default_rng(seed)
    before, after = (rng.integers(0, k, (9, 9)) for k in (5, 17))
    before[0, :5], after[1:3] = range(5), np.arange(18).reshape(2, 9) % 17
    places = cells.palette_places(after, before, [3, 0, 22, 8, 1])
    assert len(set(places)) == 17


def test_the_most_typical_cell_is_the_one_nearest_to_the_mean(path):
    masks = PseudoMasker("pixels")(path, k=4, resolution=224)
    typical, tokens = cells.typicality(masks), masks.features.tokens
    assert typical.min() == 0 and typical.max() <= 1
    for i in range(4):
        own = torch.from_numpy(masks.ids == i)
        away = (tokens - tokens[own].mean(0)).norm(dim=-1)
        assert typical[own].argmax() == away[own].argmin()
