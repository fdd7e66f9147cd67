"""The Pseudo-masks tab in a real browser: divide, look closer, judge by a ground truth."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from sseg.app.components import examples
from sseg.pseudo_masks.masker import PseudoMasker

pytestmark = pytest.mark.browser
PANEL = "#sseg-clusters"
ROWS = f"{PANEL} .svp-legend li"
STAGE = ".sv:has(.cl-figures) .sv-stage canvas"
COPIED = """const copy = new OffscreenCanvas(c.width, c.height).getContext('2d', {willReadFrequently: true});
    copy.drawImage(c, 0, 0);"""  # the page's own canvas is not made to be read


@pytest.fixture
def page(clean_page):
    """The tab by its address, with the example divided; a message in the console or a request elsewhere fails."""
    with clean_page("?tab=pseudo-masks", height=900) as page:
        rows_are(page, 8)
        choose(page, "Features", "pixels")
        page.wait_for_function("document.querySelector('#sseg-clusters .svp-code').textContent.includes('\"pixels\"')")
        yield page


def rows_are(page, count):
    page.wait_for_function(f"document.querySelectorAll('{ROWS}:not([hidden])').length === {count}")


def choose(page, label, option):
    page.get_by_label(label, exact=True).click()
    page.get_by_role("option", name=re.compile(f"^{option}:")).click()


def set_k(page, k):
    """Move the slider by the keyboard, as a person without a mouse does."""
    slider = page.get_by_role("slider", name="Clusters (K)")
    slider.focus()
    while (now := int(slider.input_value())) != k:
        page.keyboard.press("ArrowRight" if now < k else "ArrowLeft")
    rows_are(page, k)


def open_part(page, name):
    """Unfold a part and scroll to it, as a person does: it computes only what is in view."""
    button = page.get_by_role("button", name=name)
    button.click()
    button.evaluate("button => button.scrollIntoView({block: 'start'})")


def click_patch(page, x, y):
    page.locator(STAGE).click(position={"x": x, "y": y})
    page.wait_for_selector(".cl-similar canvas:visible")


def point_at(page, u, v):
    """Move the pointer over a place of the picture, given as shares of its width and height."""
    box = page.locator(STAGE).bounding_box()
    page.mouse.move(box["x"] + u * box["width"], box["y"] + v * box["height"])


def test_k_changes_the_clusters_and_the_library_agrees(page):
    set_k(page, 5)
    expected = PseudoMasker("pixels")(examples.load()[0].path, k=5)
    shown = page.locator(f"{ROWS} .svp-compactness").all_inner_texts()
    assert shown == [f"{one['compactness']:.2f}" for one in expected.clusters]
    with page.expect_download() as download:
        page.locator(PANEL).get_by_role("button", name="ID map").click()
    assert (np.asarray(Image.open(download.value.path())) == expected.labels).all()
    with page.expect_download() as download:
        page.locator(PANEL).get_by_role("button", name="JSON").click()
    assert json.loads(download.value.path().read_text())["clusters"] == expected.to_json()["clusters"]


def full_opacity(page):
    """So that what is painted has the legend's colours."""
    page.locator(".sv:has(.cl-figures) .sv-opacity").evaluate("slider => { slider.value = 100; slider.oninput(); }")


def painted(page, size):
    """Cluster at each place of a grid of (h, w), read from the canvas by the colours of the legend."""
    full_opacity(page)
    colours = page.locator(f"{ROWS} .svp-swatch").evaluate_all(
        "all => all.map(e => [e.closest('li').dataset.id - 1, ...getComputedStyle(e).backgroundColor.match(/\\d+/g)])"
    )
    pixels = page.locator(STAGE).evaluate("(c, [h, w]) => {" + COPIED + """
        const all = copy.getImageData(0, 0, c.width, c.height).data, found = [];
        for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) {
          const o = 4 * ((y + 0.5) / h * c.height << 0) * c.width + 4 * ((x + 0.5) / w * c.width << 0);
          found.push([all[o], all[o + 1], all[o + 2]]);
        }
        return found; }""", list(size))  # fmt: skip
    known = {tuple(int(v) for v in rgb): int(i) for i, *rgb in colours}
    return np.array([known.get(tuple(rgb), -1) for rgb in pixels]).reshape(size)


def wait_for_smooth(page, expected):
    """Until a place that is another cluster's in patches has the colour that it has with smooth outlines."""
    full_opacity(page)
    patches = expected.ids.repeat(4, 0).repeat(4, 1)
    y, x = np.argwhere(patches != expected.fine)[0]
    page.wait_for_function("([css, h, w, y, x, id]) => { const c = document.querySelector(css);" + COPIED + """
        const row = document.querySelector(`#sseg-clusters li[data-id="${id + 1}"]`);
        if (!row) return false;
        const o = [(x + 0.5) / w * c.width, (y + 0.5) / h * c.height];
        const at = [...copy.getImageData(...o, 1, 1).data].slice(0, 3);
        return getComputedStyle(row.querySelector('.svp-swatch')).backgroundColor === `rgb(${at.join(', ')})`; }""",
        arg=[STAGE, *patches.shape, int(y), int(x), int(expected.fine[y, x])])  # fmt: skip


def test_smooth_outlines_follow_the_picture_stay_and_are_saved(page):
    masker, first = PseudoMasker("pixels"), examples.load()[0].path
    expected = masker(first, k=8, outlines="picture")
    assert (painted(page, expected.ids.shape) == expected.ids).mean() > 0.98  # patches at first
    page.get_by_role("button", name="Smooth outlines").click()
    wait_for_smooth(page, expected)
    assert (painted(page, expected.fine.shape) == expected.fine).mean() > 0.98
    y, x = np.argwhere(expected.ids.repeat(4, 0).repeat(4, 1) != expected.fine)[0]
    point_at(page, (x + 0.5) / expected.fine.shape[1], (y + 0.5) / expected.fine.shape[0])
    tip = page.locator(".sv:has(.cl-figures) .sv-tip b")
    assert tip.inner_text() == f"Cluster {expected.fine[y, x]}"  # what is painted there, not what the patch has
    set_k(page, 5)
    expected = masker(first, k=5, outlines="picture")
    wait_for_smooth(page, expected)
    with page.expect_download() as download:
        page.locator(PANEL).get_by_role("button", name="ID map").click()
    assert (np.asarray(Image.open(download.value.path())) == expected.labels).all()
    page.locator(f"{PANEL} .svp-code summary").click()
    codes = page.locator(f"{PANEL} .svp-code pre")
    assert 'outlines="picture"' in codes.first.inner_text()
    assert all('"picture", api_name' in code or '"picture"]' in code for code in codes.all_inner_texts()[1:])

    page.get_by_role("button", name="Smooth outlines").click()
    with page.expect_download() as download:
        page.locator(PANEL).get_by_role("button", name="ID map").click()
    cells = masker(first, k=5)
    assert (np.asarray(Image.open(download.value.path())) == cells.labels).all()
    assert (painted(page, cells.ids.shape) == cells.ids).mean() > 0.98


def test_outlines_that_cannot_be_had_leave_the_patches_and_say_so(page):
    button = page.get_by_role("button", name="Smooth outlines")
    forgotten = {"error": "Not in memory: make them again."}
    page.route(re.compile("component_server"), lambda route: route.fulfill(json=forgotten))
    button.click()
    page.wait_for_selector(".sv-error:has-text('make them again')")
    assert button.get_attribute("aria-pressed") == "false"
    page.unroute(re.compile("component_server"))
    button.click()
    wait_for_smooth(page, PseudoMasker("pixels")(examples.load()[0].path, k=8, outlines="picture"))
    assert button.get_attribute("aria-pressed") == "true"


def test_a_patch_is_compared_with_all_others(page):
    canvas = page.locator(STAGE)
    canvas.hover(position={"x": 100, "y": 100})
    assert "of the picture, compactness" in page.locator(".sv:has(.cl-figures) .sv-tip").inner_text()
    click_patch(page, 100, 100)
    box = canvas.bounding_box()
    features = PseudoMasker("pixels").encode(examples.load()[0].path)
    rows, columns = features.tokens.shape[:2]
    similarity = features.similarity(int(100 / box["height"] * rows), int(100 / box["width"] * columns))
    said = page.locator(".cl-similar figcaption").inner_text()
    alike = float(re.search(r"([\d.]+) % of the picture", said)[1])
    assert alike == pytest.approx(100 * (similarity >= 0.5).mean(), abs=0.5)
    assert page.locator(f"{PANEL} .svp-row[aria-pressed=true]").count() == 1  # its cluster alone

    height, width, painted = page.locator(".cl-similar canvas").evaluate(
        "c => [c.height, c.width, [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]]"
    )
    painted = np.array(painted).reshape(height, width, 4)
    where = np.unravel_index(similarity.argmin(), similarity.shape)
    red, _, blue, _ = painted[int((where[0] + 0.5) * height / rows), int((where[1] + 0.5) * width / columns)]
    assert blue > red  # the patch that is least alike is cold

    before = page.locator(".cl-similar figcaption").inner_text()
    canvas.focus()
    for key in ["ArrowRight"] * 12 + ["Enter"]:
        page.keyboard.press(key)
    page.wait_for_function("t => document.querySelector('.cl-similar figcaption').textContent !== t", arg=before)


def test_a_ground_truth_gives_the_oracle_miou_of_the_library(page, tmp_path):
    width, height = Image.open(examples.load()[0].path).size
    ids = np.full((height, width), 255, np.uint8)
    ids[:, 20:] = 0
    ids[height // 2 :, 20:240], ids[height // 2 : -20, 260:400] = 3, 1
    mask = Image.fromarray(ids)
    mask.putpalette([int(v) for v in np.random.default_rng(0).integers(0, 256, 768)])
    mask.save(tmp_path / "truth.png")
    expected = PseudoMasker("pixels")(examples.load()[0].path, k=8).against(tmp_path / "truth.png")

    open_part(page, "Against a ground truth")
    page.get_by_label("Names of the classes").fill("<b>road</b>, can, c, water")
    upload(page, tmp_path / "truth.png")
    page.wait_for_selector(f".st-number:has-text('{expected['oracle_miou']:.2f} %')")
    assert page.locator(".st-table tbody tr").count() == 3
    assert "<b>road</b>" in page.locator(".st-table").inner_text()

    page.get_by_role("button", name="Remove Image").last.click()
    page.wait_for_selector(".st-ask:has-text('Drop a mask')")
    mask.convert("RGB").save(tmp_path / "colour.png")
    upload(page, tmp_path / "colour.png")
    page.wait_for_selector(".st .sv-error:has-text('colour picture')")


def upload(page, path):
    page.locator("input[type=file]:not([webkitdirectory])").last.set_input_files(path)


def test_curves_seeds_and_a_second_source_are_computed_when_they_are_opened(page):
    assert page.locator(".st-number, .st-curve").count() == 0
    open_part(page, "How many clusters?")
    page.wait_for_function("document.querySelectorAll('.st-curve circle').length === 46", timeout=120_000)
    best = PseudoMasker("pixels").encode(examples.load()[0].path).best_k()
    assert f"Best silhouette: K = {best}." in page.locator(".st-curve").nth(1).inner_text()

    page.get_by_role("button", name="K by silhouette").click()
    rows_are(page, best)
    assert page.get_by_role("slider", name="Clusters (K)").input_value() == str(best)
    page.wait_for_selector(f".st-curve:has-text('Now: K = {best},')")

    open_part(page, "Three seeds")
    page.wait_for_selector(".st-number:has-text('mean agreement')")
    open_part(page, "Beside another source")
    page.wait_for_selector(".st-figures img[alt='sseg: clusters']")
    choose(page, "Second features", "pixels")
    page.wait_for_selector(".st-number:has-text('1.00 agreement')")  # beside itself


def test_the_picture_of_the_segment_tab_comes_along(page):
    page.get_by_role("tab", name="Segment").click()
    page.wait_for_selector("#sseg-found .svp-legend li", state="attached")
    cat = [one.path.endswith("cat.jpg") for one in examples.load()].index(True)
    page.locator(".sseg-examples:visible button").nth(cat).click()
    page.wait_for_function("document.querySelector('#sseg-found .svp-code').textContent.includes('cat.jpg')")
    assert page.url.endswith("?tab=segment")
    page.get_by_role("tab", name="Pseudo-masks").click()
    page.wait_for_function("document.querySelector('#sseg-clusters .svp-code').textContent.includes('cat.jpg')")
    assert page.url.endswith("?tab=pseudo-masks")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_never_scrolls_sideways(browser, address, scheme):
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme=scheme, has_touch=True)
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{address}?tab=pseudo-masks")
    rows_are(page, 8)
    page.locator(f"{PANEL} .svp-code summary").click()
    open_part(page, "How many clusters?")
    page.wait_for_selector(".st-curve svg")
    open_part(page, "Three seeds")
    page.wait_for_selector(".st-number")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    context.close()
