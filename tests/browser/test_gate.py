"""Attacks from a real Chromium: a page that borrows this machine's address, one that frames the app, injections."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import sync_playwright

pytestmark = pytest.mark.browser
ASK = """async ([path, meta]) => {
  const data = [{path, ...(meta ? {meta: {_type: 'gradio.FileData'}} : {})}, 'dog', 0.15, null];
  const asked = await fetch('/gradio_api/call/segment', {
    method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify({data})});
  const id = (await asked.json()).event_id;
  return (await fetch('/gradio_api/call/segment/' + id)).text();
}"""


@pytest.fixture(scope="module")
def browser(chromium):
    """As in conftest.py, but every name that ends in .example leads to this machine, as a rebinding attack arranges."""
    arguments = ["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP *.example 127.0.0.1"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def tab(browser):
    context = browser.new_context()
    yield context.new_page()
    context.close()


def test_a_foreign_name_with_this_machines_address_sees_one_sentence(tab, address):
    answer = tab.goto(f"http://rebind.example:{urlsplit(address).port}/")
    assert answer.status == 403 and "--allowed-host" in tab.inner_text("body")
    config = tab.evaluate("fetch('/config').then(answer => answer.text())")
    assert "--allowed-host" in config and "components" not in config


def test_a_script_on_the_page_itself_reads_no_private_file_and_stops_nothing(clean_page, picture, tmp_path):
    picture.save(tmp_path / "private.png")
    with clean_page() as page:
        for path in (tmp_path / "private.png", tmp_path / "missing.png", "/dev/ptmx", "/dev/zero"):
            for meta in (False, True):
                said = page.evaluate(ASK, [str(path), meta])
                assert "event: error" in said and "was not given to this page" in said, path
        page.locator(".sseg-examples button").filter(visible=True).nth(1).click()  # the model is free
        page.wait_for_function("document.querySelector('.sv-note').textContent.includes('words ')")


def test_scripts_that_get_into_the_page_do_not_run(tab, address):
    tab.goto(address)
    tab.wait_for_selector(".sseg-words")
    tab.evaluate("""() => {
      window.ran = [], window.stopped = [];
      document.addEventListener('securitypolicyviolation', event => stopped.push(event.effectiveDirective));
      const box = document.body.appendChild(document.createElement('div'));
      box.innerHTML = '<img src="data:," onerror="ran.push(1)"><svg onload="ran.push(2)"></svg>';
      for (const [name, value] of [['textContent', 'ran.push(3)'], ['src', 'https://elsewhere.example/a.js'],
                                   ['src', 'data:text/javascript,ran.push(4)']])
        box.appendChild(document.createElement('script'))[name] = value;
      fetch('https://elsewhere.example/').catch(() => {});
    }""")
    tab.wait_for_function("stopped.length >= 5")
    assert tab.evaluate("ran") == [] and "connect-src" in tab.evaluate("stopped")


def test_a_foreign_page_cannot_show_the_app_in_a_frame(tab, address):
    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(f'<iframe src="{address}"></iframe>'.encode())

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    complaints = []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.goto(f"http://elsewhere.example:{server.server_port}/")
    tab.wait_for_timeout(1000)
    server.shutdown()
    server.server_close()
    assert any("frame-ancestors" in one for one in complaints)
    assert not tab.frames[1].query_selector("gradio-app")
