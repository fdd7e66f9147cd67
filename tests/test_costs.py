"""Numbers that are fine one by one, but would take gigabytes or minutes together, get one sentence at once."""

from dataclasses import replace

import numpy as np
import pytest
from gradio_client import handle_file
from gradio_client.exceptions import AppError

import sseg
from sseg.__main__ import main
from sseg.errors import SSegError
from sseg.pseudo_masks.masker import PseudoMasker, check

SQUARE = np.zeros((300, 300, 3), np.uint8)


@pytest.fixture
def segmenter(tiny_weights):
    return sseg.load(str(tiny_weights), "cpu")


@pytest.mark.parametrize("name", ["TINY", "mini", "mini-plus"])
def test_a_long_side_is_bounded_with_all_views(tiny_weights, name):
    one = sseg.load(str(tiny_weights) if name == "TINY" else name, "cpu")
    with pytest.raises(SSegError, match=r"A long side of 4096 would make [\d.]+ megapixels .* at most \d+\.$") as error:
        one.encode(SQUARE, long_side=4096)
    most = int(str(error.value).rstrip(".").rpartition(" ")[2])
    assert 1000 < most < 4096  # what it advises is still large


def test_sliding_windows_are_bounded(segmenter):
    with pytest.raises(SSegError, match="sliding windows would make"):
        segmenter.encode(np.zeros((4000, 4000, 3), np.uint8), sliding=True, long_side=2048)
    assert segmenter.encode(np.zeros((300, 1200, 3), np.uint8), sliding=True).size == (300, 1200)  # a panorama


def test_what_weights_want_themselves_is_bounded(segmenter):
    config = segmenter.model.config
    segmenter.model.config = replace(config, image_size=4096, scales=[8.0] * 16, mirrored=True)
    with pytest.raises(SSegError, match="choose a long side of at most"):
        segmenter.encode(SQUARE)


TOO_MUCH = [({"k": 16_000, "resolution": 1024}, "from 1 to 256"),
            ({"k": 8, "resolution": 1024, "method": "spectral"}, "at most 720"),
            ({"k": 100, "method": "spectral"}, "at most 64")]  # fmt: skip
NAMES = [" ".join(map(str, settings.values())) for settings, _ in TOO_MUCH]


@pytest.mark.parametrize(("settings", "says"), TOO_MUCH, ids=NAMES)
def test_a_division_is_bounded_in_the_library_and_the_command(settings, says, path, capsys):
    with pytest.raises(SSegError, match=says):
        check(**settings)
    with pytest.raises(SSegError, match=says):
        PseudoMasker("pixels")(SQUARE, **settings)
    options = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    assert main(["pseudo-masks", str(path), "--features", "pixels", *options]) == 2
    said = capsys.readouterr()
    assert says in said.err and len(said.err.splitlines()) == 1 and not said.out


def test_a_curve_is_bounded():
    features = PseudoMasker("pixels").encode(SQUARE, 1024)
    with pytest.raises(SSegError, match="try fewer"):
        features.elbow([256] * 100)
    small = PseudoMasker("pixels").encode(SQUARE, 64)
    assert len(small.elbow(range(1, 65))) == 64


@pytest.mark.parametrize("resolution", [673, 1024])
def test_the_page_divides_up_to_its_menu(client, path, resolution):
    with pytest.raises(AppError, match="resolution must be a whole number from 64 to 672"):
        client.predict(handle_file(path), "pixels", 8, "", resolution, 0, "kmeans", api_name="/pseudo_masks")
