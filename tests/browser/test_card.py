"""The model card of foreign weights in a real browser: it is read, and can do nothing."""

import shutil
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from sseg.app import weights

pytestmark = pytest.mark.browser
CARD = """---
license: other
---
# Foreign weights

Trained on **X**. See [their page](https://elsewhere.invalid/page).

![a picture](HERE/1.png) ![by reference][two] [![badge](HERE/3.svg)](HERE/badge) <img src="HERE/4.png">

[two]: HERE/2.png

<form action="HERE/steal"><input name="password" placeholder="Your password"><button>Log in</button></form>

<link rel="stylesheet" href="HERE/5.css"><link rel="prefetch" href="HERE/6"><style>@import "HERE/7.css";</style>
<video src="HERE/8.mp4" poster="HERE/9.png" autoplay></video><iframe src="HERE/10"></iframe><script>alert(1)</script>
<meta http-equiv="refresh" content="0; url=HERE/11"><object data="HERE/12"></object>
<svg><image href="HERE/13.png"/></svg><p style="background: url(HERE/14.png); position: fixed; inset: 0">over all</p>

| benchmark | mIoU |
| --- | --- |
| voc-mini | ${alert(2)} {{constructor}} 12.3 |

<a href="javascript:alert(3)">a</a> [b](javascript:alert(4)) [c](recipe.yaml) [d](//elsewhere.invalid) $$\\frac{1}{2}$$
"""


@pytest.fixture(scope="module")
def elsewhere():
    """Another server, and the paths that it was asked for."""
    asked = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        log_message = do_POST = do_HEAD = do_GET

    server = HTTPServer(("127.0.0.1", 0), Elsewhere)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def loaded(tiny_weights, tmp_path_factory, elsewhere):
    folder = tmp_path_factory.mktemp("foreign") / "weights"
    shutil.copytree(tiny_weights, folder)
    (folder / "README.md").write_text(CARD.replace("HERE", elsewhere[0]))
    return weights.load(str(folder))


def test_a_foreign_card_fetches_nothing_and_shows_no_forms(clean_page, elsewhere):
    with clean_page() as page:
        page.get_by_role("button", name="About these weights").click()
        page.get_by_role("heading", name="Foreign weights").wait_for()
        card = page.locator(".sseg-card")
        assert "12.3" in card.locator("td").last.inner_text() and "${alert(2)}" in card.inner_text()
        assert card.locator("strong").inner_text() == "X"
        for tag in ("img", "form", "input", "button", "link", "style", "video", "iframe", "script", "meta", "object",
                    "svg", "[style]", "[onclick]"):  # fmt: skip
            assert card.locator(tag).count() == 0, tag
        links = card.locator("a[href]").evaluate_all("all => all.map(one => [one.href, one.rel, one.target])")
        there = elsewhere[0] + "/badge"
        rel = "noopener noreferrer nofollow"
        assert links == [[address, rel, "_blank"] for address in ("https://elsewhere.invalid/page", there)]
        page.evaluate("fetch('/config').then(answer => answer.text())")  # whatever the card asked for went out before
    assert elsewhere[1] == []
