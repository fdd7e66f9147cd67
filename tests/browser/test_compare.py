"""The Compare tab in a real browser: two examples, the wipe line by keyboard and pointer, a true mask."""

import json

import numpy as np
import pytest
from PIL import Image

from sseg import checkpoint
from sseg.__main__ import main
from sseg.app import weights
from sseg.app.components import examples

pytestmark = pytest.mark.browser
WORDS = "water, road, grass, dog"


@pytest.fixture(scope="module")
def loaded(every_kind):
    return weights.load(checkpoint.default())


def headline(page):
    return page.locator("#sseg-compared .st-number").first.inner_text()


def example(page, one):
    page.get_by_role("button", name=one.words).filter(visible=True).click()


def wipe(page):
    return int(page.locator(".cp canvas").get_attribute("aria-valuenow"))


def pixels(page):
    """What the comparison shows, as a text."""
    return page.evaluate("document.querySelector('.cp canvas').toDataURL()")


def test_two_examples_a_wipe_line_and_a_true_mask(clean_page, loaded, tmp_path, capsys):
    first, second = (one for one in examples.load() if one.path.endswith(("china.jpg", "coffee.jpg")))
    size = Image.open(second.path).size[::-1]
    truth = np.zeros(size, np.uint8)
    truth[: size[0] // 2], truth[size[0] // 2 :] = 1, 2
    Image.fromarray(truth).save(tmp_path / "truth.png")
    name, folder = loaded[1].name, str(loaded[1].folder)
    with clean_page("?tab=compare") as page:
        page.get_by_role("button", name="Wipe").wait_for()
        words = page.get_by_label("What should be found?").filter(visible=True)
        words.fill(WORDS)
        page.get_by_label("B", exact=True).click()
        page.get_by_role("option", name=name, exact=True).click()
        page.get_by_role("button", name="Other words for B").click()
        page.get_by_label("Words for B").fill("lava, snow, dog")
        example(page, first)
        page.wait_for_function("/became (lava|snow)/.test(document.querySelector('#sseg-compared').innerText)")
        line = page.get_by_role("slider", name="Wipe line")
        line.focus()
        before, at = pixels(page), wipe(page)
        for _ in range(5):
            page.keyboard.press("ArrowRight")
        assert wipe(page) == at + 10 and pixels(page) != before
        page.keyboard.press("Home")
        assert wipe(page) == 0
        box = line.bounding_box()
        page.mouse.click(box["x"] + 0.8 * box["width"], box["y"] + box["height"] / 2)
        assert abs(wipe(page) - 80) <= 1
        for view in ("A", "B", "Blend", "Difference"):
            shown = pixels(page)
            page.get_by_role("button", name=view, exact=True).click()
            assert pixels(page) != shown
        said = headline(page)
        example(page, second)
        page.wait_for_function("was => document.querySelector('#sseg-compared .st-number').innerText !== was", arg=said)
        words.fill(WORDS)  # without S-Seg+ an example brings its own words
        page.locator("input[type=file][accept='.png']").set_input_files(tmp_path / "truth.png")
        page.wait_for_function("document.querySelector('#sseg-compared').innerText.includes('mIoU against')")
        page.get_by_role("button", name="Compare", exact=True).click()
        page.wait_for_function("!document.querySelector('.cp .sv-run:not([hidden])')")
        page.get_by_role("button", name="Mended, broken").click()
        figures = [float(text.split()[0]) for text in (
            headline(page), page.locator("#sseg-compared .st-number").nth(1).inner_text())]  # fmt: skip
    asked = ["--phrases", WORDS, "--plus-phrases", "lava, snow, dog", "--truth", str(tmp_path / "truth.png"), "--json"]
    assert main(["compare", str(second.path), "--weights", folder, "--plus", folder, *asked]) == 0
    told = json.loads(capsys.readouterr().out)
    rounded = [float(f"{100 * x:.{1 if x < 0.0995 else 0}f}") for x in (told["agreement"], told["miou"]["a"])]
    assert figures == rounded


@pytest.mark.skipif(len(checkpoint.bundled(checkpoint.PLUS)) < 2, reason="one S-Seg+ is bundled")
def test_each_s_seg_plus_stands_beside_its_teacher(clean_page, loaded):
    photographs = [one for one in examples.load() if not one.weights]
    scene = examples.load()[-1]
    with clean_page("?tab=compare") as page:
        a, b = (page.get_by_label(side, exact=True) for side in "AB")
        page.get_by_role("button", name="Wipe").wait_for()
        assert (a.input_value(), b.input_value()) == ("photos", "photos-plus")
        example(page, scene)
        page.get_by_text("B: mini-plus", exact=True).wait_for()  # in the picture: the answer is there
        assert (a.input_value(), b.input_value()) == ("mini", "mini-plus")
        assert "|" not in page.locator("#sseg-compared").inner_text()  # of synonyms the first
        b.click()
        page.get_by_role("option", name="photos-plus", exact=True).click()
        page.get_by_text("B: photos-plus", exact=True).wait_for()
        assert a.input_value() == "photos"
        said = headline(page)
        example(page, photographs[1])  # suits `photos`: nothing to change
        page.wait_for_function("was => document.querySelector('#sseg-compared .st-number').innerText !== was", arg=said)
        assert (a.input_value(), b.input_value()) == ("photos", "photos-plus")
