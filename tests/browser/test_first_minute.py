"""What a stranger does in the first minute: bring an image, see what is there, ask, come back."""

import base64
import re

import pytest
from PIL import Image

from sseg import checkpoint
from sseg.app import weights
from sseg.app.components import examples
from sseg.paths import ASSETS

pytestmark = pytest.mark.browser
CAT = ASSETS / "examples" / "cat.jpg"
DROP = """([data, name, on]) => {
  const bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0)), box = new DataTransfer();
  box.items.add(new File([bytes], name, {type: 'image/png'}));
  const target = document.querySelector(on);
  for (const type of ['dragenter', 'dragover', 'drop']) {
    target.dispatchEvent(new DragEvent(type, {dataTransfer: box, bubbles: true, cancelable: true}));
  }
}"""
PASTE = """([data, name]) => {
  const bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0)), box = new DataTransfer();
  box.items.add(new File([bytes], name, {type: 'image/png'}));
  document.body.dispatchEvent(new ClipboardEvent('paste', {clipboardData: box, bubbles: true, cancelable: true}));
}"""


@pytest.fixture(scope="module")
def loaded():
    return weights.load(checkpoint.PHOTOS)


@pytest.fixture
def mine(tmp_path):
    """A photograph that no example is."""
    Image.open(CAT).convert("RGB").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "mine.png")
    return tmp_path / "mine.png"


def data_of(path):
    return base64.b64encode(path.read_bytes()).decode()


def box(page):
    return page.get_by_label("What should be found?").first


def answered(page, name):
    """Wait for an answer about the image of that name."""
    page.wait_for_function("name => document.querySelector('.svp-code')?.textContent.includes(name)", arg=name)


def found(page):
    return page.locator(".svp-legend li:visible b").all_inner_texts()


@pytest.mark.parametrize("on", [".sv-stage", ".sseg-top", ".svp-files"])
def test_an_image_dropped_anywhere_is_coloured_by_words_of_its_own(clean_page, mine, on):
    with clean_page() as page:
        page.wait_for_selector(".svp-legend li")
        before = box(page).input_value()
        page.evaluate(DROP, [data_of(mine), mine.name, on])
        answered(page, mine.name)
        assert box(page).input_value() != before and "cat" in box(page).input_value()
        assert found(page)[0] == "cat"
        assert "know and find here" in page.locator(".sv-note").first.inner_text()
        assert page.locator("body.sseg-drop").count() == 0


def test_a_pasted_image_is_taken_and_one_click_replaces_it(clean_page, mine):
    with clean_page() as page:
        page.wait_for_selector(".svp-legend li")
        page.evaluate(PASTE, [data_of(mine), mine.name])
        answered(page, mine.name)
        other = mine.with_name("other.png")
        Image.open(mine).resize((300, 200)).save(other)
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Choose an image").first.click()
        chooser.value.set_files(other)
        answered(page, other.name)


@pytest.mark.parametrize("size", [(1280, 800), (768, 1024), (390, 844)])
def test_image_words_and_answer_are_seen_together(browser, address, mine, size):
    context = browser.new_context(viewport={"width": size[0], "height": size[1]})
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector(".svp-legend li")
    page.locator("input[type=file]").first.set_input_files(mine)
    answered(page, mine.name)
    for part in (".sv-stage canvas", ".sseg-words textarea", ".svp-legend li:first-child"):
        place = page.locator(part).first.bounding_box()
        assert place["y"] >= 0 and place["y"] + place["height"] <= size[1], part
    assert page.evaluate("scrollY") == 0
    context.close()


def test_what_is_also_here_is_added_with_a_click(clean_page):
    with clean_page("?example=cat&words=nose") as page:
        answered(page, "cat.jpg")
        page.get_by_role("button", name="Add cat").click()
        page.wait_for_function("document.querySelector('.svp-legend').textContent.includes('cat')")
        assert box(page).input_value() == "nose, cat" and page.get_by_role("button", name="Add cat").count() == 0


def test_ten_quick_clicks_end_with_the_last_example_whole(clean_page):
    shown = examples.load()
    with clean_page() as page:
        page.wait_for_selector(".svp-legend li")
        thumbs = page.locator(".sseg-examples:visible button")
        for place in [1, 3, 0, 2, 1, 0, 3, 2, 0, 3]:
            thumbs.nth(place).click()
        last = shown[3]
        answered(page, last.words)
        page.wait_for_timeout(1000)  # whatever came too late would have come by now
        assert box(page).input_value() == last.words
        assert set(found(page)) <= {word.strip() for word in last.words.split(",")} and found(page)
        assert thumbs.nth(3).get_attribute("aria-pressed") == "true"
        assert "cat.jpg" in page.locator(".svp-code pre").first.text_content()


def test_a_reload_brings_image_words_and_sliders_back(clean_page, mine):
    with clean_page() as page:
        page.wait_for_selector(".svp-legend li")
        page.locator("input[type=file]").first.set_input_files(mine)
        answered(page, mine.name)
        page.locator(".sv-opacity").first.evaluate("one => { one.value = 30; one.oninput(); one.onchange(); }")
        before = page.evaluate("localStorage.getItem('sseg-kept')")
        box(page).fill("cat, window")
        box(page).press("Enter")
        answered(page, "cat, window")
        page.wait_for_function("before => localStorage.getItem('sseg-kept') !== before", arg=before)
        page.reload()
        answered(page, mine.name)
        assert box(page).input_value() == "cat, window" and found(page) == ["cat"]
        assert page.locator(".sv-opacity").first.input_value() == "30"


def test_a_link_reproduces_the_view_of_an_example(clean_page):
    with clean_page("?example=cat&words=cat,whiskers&background=0.4") as page:
        answered(page, "cat.jpg")
        assert box(page).input_value() == "cat,whiskers"
        assert page.locator(".sv-background").first.input_value() == "40"


def test_a_link_with_nonsense_begins_as_every_page(clean_page):
    with clean_page("?example=../../etc/passwd&background=nan&words=x") as page:
        page.wait_for_selector(".svp-legend li")
        assert box(page).input_value() == examples.load()[0].words


def test_nothing_found_shows_the_best_guess_and_where_the_slider_would_have_to_be(clean_page):
    with clean_page("?example=cat&words=bicycle") as page:
        answered(page, "cat.jpg")
        said = page.locator(".svp-absent").first.inner_text()
        level = float(re.search(r"bicycle, (0\.\d\d)\.", said)[1])
        assert "Nothing reaches the background level" in said and found(page) == []
        mark = page.locator("datalist option").first.get_attribute("value")
        assert abs(int(mark) / 100 - level) <= 0.02
        page.locator(".sv-background").first.evaluate("(one, to) => { one.value = to; one.oninput(); }", int(mark))
        page.wait_for_function("document.querySelectorAll('.svp-legend li:not([hidden])').length === 1")
        assert found(page) == ["bicycle"] and "Nothing" not in page.locator(".svp-absent").first.inner_text()


def test_show_all_ends_an_isolation(clean_page):
    with clean_page("?example=cat&words=cat,sky&background=0.1") as page:
        answered(page, "cat.jpg")
        page.locator(".svp-row").first.click()
        page.get_by_role("button", name="Show all").click()
        assert page.locator(".svp-row[aria-pressed=true]").count() == 0
        assert page.get_by_role("button", name="Show all").is_hidden()


def test_the_keyboard_goes_from_the_image_to_the_words(clean_page):
    with clean_page() as page:
        page.wait_for_selector(".svp-legend li")
        page.locator(".sv-stage canvas").first.focus()
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement === document.querySelector('.sseg-words textarea')")
