"""A real Chromium."""

from contextlib import contextmanager

import pytest

GRADIO_NOISE = "Method not implemented."  # gradio's own warning when the stream about an upload ends


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
        page.set_default_timeout(60_000)
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
