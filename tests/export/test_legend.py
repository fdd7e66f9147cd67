"""The overlay with names and a legend, at the sizes and with the phrases that are hardest."""

import numpy as np
import pytest

from sseg import SSegError, images
from sseg.export import overlay_with_legend
from sseg.export.legend import _free
from sseg.export.lettering import drawable, font, names, shortened
from sseg.export.placing import overlap, spots


def stripes(height, width, count):
    """Regions side by side, with a strip of background at the left, and their areas."""
    labels = np.broadcast_to(np.arange(width) * (count + 1) // width - 1, (height, width)).astype(np.int32)
    return labels, [float((labels == i).mean()) for i in range(count)]


@pytest.mark.parametrize("size", [(64, 64), (64, 48), (400, 1200), (600, 200), (1, 1), (2, 300), (300, 2)])
@pytest.mark.parametrize("count", [1, 4, 40])
def test_every_size_and_number_of_phrases(size, count):
    labels, areas = stripes(*size, count)
    rgb = np.full((*size, 3), 90, np.uint8)
    phrases = [f"thing {i}" for i in range(count)]
    out = overlay_with_legend(rgb, labels, phrases, images.colors(count), areas)
    assert out.dtype == np.uint8 and max(out.shape[:2]) >= 480 and out.shape[0] * out.shape[1] < 4e6
    for color, area in zip(images.colors(count), areas, strict=True):  # the legend's swatches, and only plain colours
        assert (out == color).all(2).sum() >= 100 or not area


def test_a_large_image_keeps_its_pixels_outside_of_names():
    labels, areas = stripes(700, 900, 3)
    rgb = np.random.default_rng(0).integers(0, 256, (700, 900, 3), np.uint8)
    plain = images.overlay(rgb, labels, images.colors(3))
    out = overlay_with_legend(rgb, labels, ["dog", "cat", "cow"], images.colors(3), areas)[:700, :900]
    assert (out != plain).any(2).mean() < 0.02


def test_no_phrase_is_drawn_as_boxes_and_none_breaks_the_image():
    found = names(["dog", "<b>dog</b>", "two\nlines\x07", "日本語", "naïve café", "собака", "🦊", "\u202egod"])
    assert found == ["dog", "<b>dog</b>", "two lines", None, "naïve café", "собака", None, "god"]
    assert not drawable("日")
    labels, areas = stripes(200, 500, 8)
    phrases = ["日本語", "🦊", "\u202egod", "", "two\nlines", "x" * 200, "<img src=x onerror=1>", "&amp;"]
    overlay_with_legend(np.zeros((200, 500, 3), np.uint8), labels, phrases, images.colors(8), areas)


def test_long_phrases_end_in_an_ellipsis_that_fits():
    text = "an old man who rides a bicycle through the rain"
    for width in (40, 100, 250):
        short = shortened(text, 13, width)
        assert short.endswith("…") and font(13).getlength(short) <= width and text.startswith(short[:-1])
    assert shortened("dog", 13, 100) == "dog"


def test_the_first_place_for_a_name_is_inside_its_region_far_from_the_outline():
    labels = np.full((100, 200), -1)
    labels[20:80, 30:150] = 0
    labels[0:4, 0:4] = 0  # a smaller part
    x, y = next(spots(labels, 0, 0.001))
    assert labels[y, x] == 0 and abs(y - 50) <= 2 and 55 <= x <= 125
    assert list(spots(labels, 1, 0)) == [] and list(spots(labels, 0, 0.9)) == []


def test_names_do_not_cover_one_another():
    labels, _ = stripes(120, 400, 4)
    taken = []
    for label in range(4):
        box = _free(list(spots(labels, label, 0.01)), "some name", 13, labels, label, taken)
        assert box and box[2] <= 400 and box[3] <= 120 and not any(overlap(box, other) for other in taken)
        taken.append(box)


def test_another_images_labels_and_a_wrong_opacity_are_sentences():
    rgb, labels = np.zeros((20, 30, 3), np.uint8), np.zeros((20, 30), int)
    for arguments in ((rgb[:9], labels, ["a"], images.colors(1), [1.0]),
                      (rgb, labels, ["a"], images.colors(1), [1.0], 7)):  # fmt: skip
        with pytest.raises(SSegError):
            overlay_with_legend(*arguments)
