"""Sizes as the person has them: the photograph's own, upright, whatever size the library works at."""

import base64
import io
import json

import numpy as np
import pytest
from gradio_client import handle_file
from PIL import Image

from sseg import SSegError, images
from sseg.__main__ import main
from sseg.truth import read_ids_at

WIDE = (500, 340)


@pytest.fixture
def few(monkeypatch):
    """The library works at 160,000 pixels, not at 16 million: `WIDE` is a big picture."""
    monkeypatch.setattr(images, "MAX_PIXELS", 160_000)


def photograph(path, size, turned=False):
    """A JPEG of four plain quarters that looks `size` (width, height); `turned`: stored on its side, with EXIF."""
    quarters = np.array([[[200, 60, 50], [60, 170, 70]], [[60, 90, 200], [220, 210, 90]]], np.uint8)
    image = Image.fromarray(quarters).resize(size, Image.Resampling.NEAREST)
    exif = Image.Exif()
    if turned:
        image, exif[0x0112] = image.transpose(Image.Transpose.ROTATE_90), 6
    image.save(path, quality=80, exif=exif)
    return path


def true_mask(path, size):
    """Ids 1 and 2, one a half, of the size (width, height)."""
    ids = np.ones(size[::-1], np.uint8)
    ids[:, size[0] // 2 :] = 2
    Image.fromarray(ids).save(path)
    return path


def command(capsys, *arguments):
    code = main([*map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


# ---- masks that are read ---------------------------------------------------------------------------------------------
def test_ids_are_read_at_the_working_size_by_nearest_neighbour(tmp_path):
    ids = np.random.default_rng(0).integers(0, 200, (31, 47)).astype(np.uint8)
    Image.fromarray(ids).save(tmp_path / "ids.png")
    found = read_ids_at(tmp_path / "ids.png", (11, 17), full_size=(31, 47))
    rows, columns = ((2 * np.arange(n) + 1) * m // (2 * n) for n, m in ((11, 31), (17, 47)))
    assert found.dtype == np.int32 and (found == ids[rows][:, columns]).all()
    own = Image.fromarray(ids).resize((17, 11), Image.Resampling.NEAREST)  # Pillow's own rule
    assert (found == np.asarray(own)).all()


@pytest.mark.parametrize(("shape", "size", "full"), [
    ((31, 47), (31, 47), None), ((31, 47), (31, 47), (62, 94)), ((340, 500), (329, 485), None),
])  # fmt: skip
def test_a_mask_of_either_size_is_taken(few, shape, size, full):
    assert read_ids_at(np.zeros(shape, np.uint8), size, full).shape == size


@pytest.mark.parametrize(("shape", "size", "full", "said"), [
    ((47, 31), (31, 47), None, "31 x 47 pixels, the picture 47 x 31"),
    ((20, 30), (31, 47), (62, 94), "30 x 20 pixels, the picture 94 x 62"),
    ((94, 62), (31, 47), (62, 94), "62 x 94 pixels, the picture 94 x 62"),
])  # fmt: skip
def test_a_mask_of_another_size_is_refused_in_the_size_of_the_photograph(shape, size, full, said):
    with pytest.raises(SSegError, match=said):
        read_ids_at(np.zeros(shape, np.uint8), size, full)


# ---- the size of a photograph ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("turned", [False, True])
def test_the_size_is_that_of_the_photograph_upright(tmp_path, turned):
    path = photograph(tmp_path / "photo.jpg", (300, 400), turned)
    for source in (path, path.read_bytes(), Image.open(path)):
        rgb, size = images.read_sized(source, max_pixels=3000)
        assert size == (400, 300) and rgb.shape == (63, 47, 3)
    assert images.read_sized(np.zeros((30, 40, 3), np.uint8), 300)[1] == (30, 40)


# ---- the command line ------------------------------------------------------------------------------------------------
def test_segment_writes_ids_at_the_size_of_the_file(few, tmp_path, tiny_weights, capsys):
    path = photograph(tmp_path / "photo.jpg", WIDE, turned=True)
    code, out, _ = command(capsys, "segment", path, "--phrases", "dog, sky", "--weights", tiny_weights,
                           "--background", 0, "--out", tmp_path / "out")  # fmt: skip
    assert code == 0 and "500 x 340, worked on at 485 x 329" in out
    ids = np.asarray(Image.open(tmp_path / "out" / "photo.ids.png"))
    report = json.loads((tmp_path / "out" / "photo.json").read_text())
    assert ids.shape == (340, 500) and report["full_size"] == [340, 500] and report["size"] == [329, 485]
    shares = [(ids == row["id"]).mean() for row in report["phrases"]]
    assert shares == pytest.approx([row["area"] for row in report["phrases"]], abs=5e-3)


def test_truth_of_the_files_size_is_taken_by_both_commands(few, tmp_path, tiny_weights, capsys):
    path, truth = photograph(tmp_path / "photo.jpg", WIDE), true_mask(tmp_path / "truth.png", WIDE)
    code, out, err = command(capsys, "compare", path, "--weights", tiny_weights, "--plus", tiny_weights, "--phrases",
                             "dog, sky", "--truth", truth, "--json", "--out", tmp_path / "out")  # fmt: skip
    assert code == 0 and err == "" and json.loads(out)["miou"]["classes"]
    assert Image.open(tmp_path / "out" / "photo.a.png").size == WIDE
    code, out, err = command(capsys, "pseudo-masks", path, "--features", "pixels", "--resolution", 64, "--k", 2,
                             "--truth", truth, "--json", "--out", tmp_path / "out")  # fmt: skip
    score = json.loads(out)["truth"]
    assert code == 0 and err == "" and [one["area"] for one in score["classes"]] == pytest.approx([0.5, 0.5], abs=5e-3)
    assert Image.open(tmp_path / "out" / "photo.ids.png").size == WIDE


# ---- the page --------------------------------------------------------------------------------------------------------
def test_compare_takes_the_truth_of_a_real_photograph(client, loaded, tmp_path):
    path = photograph(tmp_path / "photo.jpg", (2000, 1500), turned=True)
    truth = true_mask(tmp_path / "truth.png", (2000, 1500))
    name = loaded[1].name
    view, found = client.predict(handle_file(path), name, name, "dog, sky", "", 0, handle_file(truth),
                                 api_name="/compare")  # fmt: skip
    view = view.get("value", view)
    assert found["miou"]["classes"] and "2000 × 1500" in view["note"]
    assert found["full_size"] == [1500, 2000]
    wrong = true_mask(tmp_path / "wrong.png", (1500, 2000))
    with pytest.raises(Exception, match="has 1500 x 2000 pixels, the picture 2000 x 1500"):
        client.predict(handle_file(path), name, name, "dog, sky", "", 0, handle_file(wrong), api_name="/compare")


def test_segment_says_and_downloads_the_size_of_the_photograph(loaded, tmp_path):
    from sseg.app.downloads import download
    from sseg.app.service import Service

    service = Service(loaded[0])
    path = photograph(tmp_path / "photo.jpg", (1500, 2000), turned=True)
    view, report = service.segment(path, "dog, sky", 0)
    assert "scaled down from 1500 × 2000" in view["note"] and report["full_size"] == [2000, 1500]
    data = base64.b64decode(download(service, view["key"], "dog, sky", "ids", 0)["data"])
    assert Image.open(io.BytesIO(data)).size == (1500, 2000)


def test_pseudo_masks_say_and_download_the_size_of_the_photograph(few, monkeypatch, loaded, tmp_path):
    from sseg.app.cluster_service import ClusterService, Settings
    from sseg.app.service import Service

    monkeypatch.setattr("sseg.app.cluster_service.VIEW_PIXELS", 100_000)
    clusters = ClusterService(Service(loaded[0]))
    path = photograph(tmp_path / "photo.jpg", WIDE, turned=True)
    view = clusters.make(path, Settings(features="pixels", k=2, resolution=224), None)
    assert view["note"].startswith("500 × 340 pixels, shown at 383 × 260 ")
    data = base64.b64decode(clusters.file(view["key"], "png")["data"])
    assert Image.open(io.BytesIO(data)).size == WIDE
