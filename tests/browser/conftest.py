"""A real Chromium, and a page with weights of each kind."""

import json
import shutil
from contextlib import contextmanager

import pytest

from sseg import checkpoint

OWN_BACKGROUND = 0.3  # of the page's `photos`
GRADIO_NOISE = "Method not implemented."  # gradio's own warning when the stream about an upload ends


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory, tiny_weights):
    """As if these were all the bundled weights: `mini` and `photos`, with their S-Seg+ where there are any."""
    here, folder = checkpoint.bundled() | checkpoint.bundled(checkpoint.PLUS), tmp_path_factory.mktemp("bundled")
    wanted = {
        "mini": ["mini", tiny_weights],
        "photos": ["photos", "mini", tiny_weights],
        "mini-plus": ["mini-plus"],
        "photos-plus": ["photos-plus"],
    }
    for name, sources in wanted.items():
        source = next((here.get(one, one) for one in sources if one in here or one is tiny_weights), None)
        if source:
            shutil.copytree(source, folder / name)
    change_config(folder / "photos", background=OWN_BACKGROUND)
    if (folder / "photos-plus").is_dir():
        change_config(folder / "photos-plus", teacher="photos")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "WEIGHTS", folder)
        yield folder


def change_config(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


@pytest.fixture(scope="module")
def browser(chromium):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def clean_page(browser, address):
    """Opens pages of `address`; a message in the console, a dialog or a request elsewhere fails the test."""

    @contextmanager
    def opened(where="", height=800):
        context = browser.new_context(viewport={"width": 1280, "height": height})
        page, complaints = context.new_page(), []
        page.set_default_timeout(20_000)
        page.on("console", lambda message: message.text == GRADIO_NOISE or complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append("dialog"), dialog.dismiss()))
        page.on("request", lambda request: is_local(request.url, address) or complaints.append(request.url))
        with page.expect_request(lambda request: "/queue/data" in request.url):  # the last that opening it asks for
            page.goto(address + where)
        yield page
        context.close()
        assert complaints == []

    return opened


def is_local(url, address):
    return url.startswith((address, "data:", "blob:"))
