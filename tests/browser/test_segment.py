"""The Segment tab in a real browser: what a visitor does in the first minutes."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sseg import checkpoint
from sseg.app import weights
from sseg.app.components import examples
from sseg.arguments import BACKGROUND
from tests.browser.conftest import OWN_BACKGROUND

pytestmark = pytest.mark.browser
ROWS = ".svp-legend li:visible"


@pytest.fixture(scope="module")
def loaded(every_kind):
    return weights.load(checkpoint.default())


@pytest.fixture
def page(clean_page):
    """The page, with its example painted; whatever the console says or another host is asked fails the test."""
    with clean_page() as page:
        page.wait_for_selector(".svp-legend li", state="attached")
        threshold(page, 0)
        yield page


def threshold(page, percent):
    page.locator(".sv-background").evaluate("(slider, value) => { slider.value = value; slider.oninput(); }", percent)
    page.wait_for_timeout(100)  # the repaint waits for the next frame


def ask(page, words):
    box = page.get_by_label("What should be found?")
    box.fill(words)
    box.press("Enter")


def names(page):
    return page.locator(f"{ROWS} b").all_inner_texts()


def legend_holds(page, word):
    page.wait_for_function("word => document.querySelector('.svp-legend').textContent.includes(word)", arg=word)


def test_first_visit_pick_an_example_ask_other_words_and_save_the_mask(page):
    first = examples.load()[0].words.split(", ")
    assert set(names(page)) and set(names(page)) <= set(first)

    other = examples.load()[1]
    page.locator(".sseg-examples button").nth(1).click()
    legend_holds(page, other.words.split(", ")[0])
    assert page.get_by_label("What should be found?").input_value() == other.words

    ask(page, "brick wall, a zebra|horse")
    legend_holds(page, "a zebra|horse")
    assert "words only" in page.locator(".sv-note").inner_text()
    assert set(names(page)) <= {"brick wall", "a zebra|horse"}

    with page.expect_download() as download:
        page.get_by_role("button", name="ID map").click()
    ids = np.asarray(Image.open(io.BytesIO(download.value.path().read_bytes())))
    assert ids.shape == Image.open(other.path).size[::-1] and set(np.unique(ids)) <= {1, 2}
    assert download.value.suggested_filename == f"{Path(other.path).stem}-ids.png"


def marked(page):
    """Places of the examples that are marked as the one that is shown."""
    return page.locator(".sseg-examples:visible button").evaluate_all(
        "all => all.flatMap((button, place) => button.getAttribute('aria-pressed') === 'true' ? [place] : [])"
    )


def background(page):
    return float(page.locator(".sv-background").input_value()) / 100


def legend_is_of(page, words):
    """Wait until the legend holds an entry for each of the words, and no others."""
    page.wait_for_function(
        """words => JSON.stringify([...document.querySelectorAll('#sseg-found .svp-legend b')]
      .map(b => b.textContent).sort()) === JSON.stringify(words.sort())""",
        arg=words.split(", "),
    )


def test_a_scene_is_shown_with_weights_for_scenes_and_others_can_be_chosen(clean_page):
    shown = examples.load()
    with clean_page() as page:
        legend_is_of(page, shown[0].words)
        chosen = page.locator(".sseg-weights")
        page.get_by_role("button", name="More: lists of words, weights").click()
        assert marked(page) == [0] and background(page) == OWN_BACKGROUND
        assert chosen.get_by_label("photos, for photographs").is_checked()

        page.locator(".sseg-examples button").nth(len(shown) - 1).click()
        legend_is_of(page, shown[-1].words)
        assert chosen.get_by_label("mini, for rendered scenes").is_checked() and marked(page) == [len(shown) - 1]
        assert background(page) == BACKGROUND  # follows the weights
        page.wait_for_function("document.querySelector('.sseg-top summary').textContent.includes('weights: mini')")
        page.locator(".svp-code summary").click()
        code = page.locator(".svp-code pre").first
        assert 'sseg.load("mini")' in code.inner_text()

        before = page.locator(".sv-note").inner_text()
        chosen.get_by_label("photos, for photographs").check()
        page.wait_for_function("before => document.querySelector('.sv-note').textContent !== before", arg=before)
        assert 'sseg.load("photos")' in code.inner_text() and "picture" in page.locator(".sv-note").inner_text()
        page.wait_for_function("document.querySelector('.sseg-top summary').textContent.includes('weights: photos')")
        assert background(page) == OWN_BACKGROUND
        threshold(page, 70)
        chosen.get_by_label("mini, for rendered scenes").check()
        page.wait_for_function("document.querySelector('.svp-code pre').textContent.includes('\"mini\"')")
        assert background(page) == 0.7  # moved by hand: stays


def test_the_background_slider_answers_in_the_page(page):
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    shares = page.locator(f"{ROWS} .svp-area").all_inner_texts()
    assert sum(float(text.removesuffix(" %")) for text in shares) == pytest.approx(100, abs=3)
    threshold(page, 100)
    assert names(page) == [] and "Nothing reaches" in page.locator(".svp-absent").inner_text()
    assert requests == []


def test_hover_click_and_keys_say_what_a_pixel_is(page):
    canvas = page.locator(".sv-stage canvas")
    canvas.hover(position={"x": 200, "y": 200})
    assert page.locator(".sv-tip b").inner_text() in names(page)
    canvas.click(position={"x": 200, "y": 200})
    page.wait_for_selector(".svp-pixel h3")
    assert page.locator(".svp-row[aria-pressed=true]").count() == 1
    assert 1 <= page.locator(".svp-pixel li").count() <= 5

    canvas.focus()
    page.keyboard.press("Escape")
    assert page.locator(".svp-row[aria-pressed=true]").count() == 0
    before = page.locator(".svp-pixel h3").inner_text()
    for key in ("ArrowLeft", "ArrowUp", "Enter"):
        page.keyboard.press(key)
    page.wait_for_function("before => document.querySelector('.svp-pixel h3').textContent !== before", arg=before)

    row = page.locator(".svp-row:visible").first
    row.focus()
    page.keyboard.press("Space")
    assert row.get_attribute("aria-pressed") == "true"


def test_heat_map_and_unnamed_regions(page):
    page.locator(".svp-heat:visible").first.click()
    page.wait_for_selector(".sv-scale:visible")
    assert names(page)[0] in page.locator(".sv-scale").inner_text()
    page.get_by_role("button", name="Unnamed regions").click()
    page.wait_for_selector(".svp h2:has-text('Unnamed regions')")
    assert page.locator(".sv-scale").is_hidden() and names(page)
    page.get_by_role("button", name="Unnamed regions").click()
    assert set(names(page)) <= set(examples.load()[0].words.split(", "))


def test_markup_is_shown_as_typed_and_never_runs(page):
    typed = ["<img src=x onerror=alert(1)>", "${alert(1)}", "{{7*7}}"]
    ask(page, ", ".join(typed))
    legend_holds(page, typed[-1])
    assert sorted(page.locator(".svp-legend b").all_text_contents()) == sorted(typed)
    page.locator(".svp-code summary").click()
    assert typed[0] in page.locator(".svp-code pre").first.inner_text()


def test_an_unseen_word_is_explained_and_can_be_swapped_for_what_was_meant(page):
    ask(page, "sky; 'grsas' , quokka")
    legend_holds(page, "quokka")
    slip, quokka = page.locator(".svp-unknown p").all()
    assert slip.inner_text().startswith("“grsas” was in no caption; did you mean ")
    said = r"“quokka” was in no caption; (no known word is near\.|nearest known words?: .+ \(\d\.\d\d\))"
    assert re.fullmatch(said, " ".join(quokka.inner_text().split()))
    meant = slip.locator("button").first
    assert meant.inner_text() == "grass"
    meant.click()
    page.wait_for_function("!document.querySelector('.svp-legend').textContent.includes('grsas')")
    assert page.get_by_label("What should be found?").input_value() == "sky; 'grass' , quokka"
    assert page.locator(".svp-unknown p").count() == 1


def test_many_unseen_words_get_one_line(page):
    ask(page, ", ".join(f"xq{letter}zzyx" for letter in "abcdefghij"))
    legend_holds(page, "xqjzzyx")
    lines = page.locator(".svp-unknown p").all_inner_texts()
    assert len(lines) == 1 and lines[0].startswith("10 of these words were in no caption")


def test_what_cannot_be_done_is_said_in_the_page_and_the_page_goes_on(page):
    ask(page, " ")
    page.wait_for_selector(".sv-error:has-text('Type what should be found')")
    ask(page, "grass, sky")
    legend_holds(page, "sky")
    assert page.locator(".sv-error").is_hidden()


def upload(page, picture, path):
    picture.save(path)
    page.locator("input[type=file]").first.set_input_files(path)
    page.wait_for_function("name => document.querySelector('.svp-code').textContent.includes(name)", arg=path.name)


def test_an_upload_asks_for_words_of_its_own_and_takes_the_weights_of_the_page(page, picture, tmp_path):
    page.locator(".sseg-examples button").nth(len(examples.load()) - 1).click()
    legend_holds(page, examples.load()[-1].words.split(", ")[0])
    upload(page, picture, tmp_path / "mine.png")
    box, note = page.get_by_label("What should be found?"), page.locator(".sv-note")
    assert not set(box.input_value().split(", ")) & set(examples.load()[-1].words.split(", ")) and marked(page) == []
    page.get_by_role("button", name="More: lists of words, weights").click()
    assert page.locator(".sseg-weights").get_by_label("photos, for photographs").is_checked()
    assert page.get_by_role("button", name="This example's words").is_hidden()
    page.locator(".sv-stage canvas").click(position={"x": 50, "y": 50})  # says nothing, complains of nothing

    ask(page, "grass, sky")
    legend_holds(page, "grass")
    assert "120 × 90" in note.inner_text() and "words only" in note.inner_text()
    upload(page, picture.rotate(90), tmp_path / "other.png")
    assert box.input_value() != "grass, sky"  # words for another image


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_never_scrolls_sideways(browser, address, scheme):
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme=scheme, has_touch=True)
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector(".svp-legend li", state="attached")
    page.locator(".svp-code summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    parts = (".sseg-examples ul", ".sv-stage", ".sseg-words", ".svp-head")  # examples, image, words, found
    order = [page.locator(one).bounding_box()["y"] for one in parts]
    assert order == sorted(order)
    context.close()
