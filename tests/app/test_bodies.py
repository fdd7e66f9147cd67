"""How much a request may bring: raw requests to started pages, of which most of the body is never sent."""

import http.client
import json
import select
import socket
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from gradio.utils import get_upload_folder
from starlette.middleware import Middleware

from sseg.app.build import build, options
from sseg.app.guards.bodies import FILES, MB, WORDS, Bodies

EVENTS = ["gradio_api/call/segment", "gradio_api/queue/join", "gradio_api/component_server", "gradio_api/run/ask",
          "gradio_api/reset", "gradio_api/cancel", "no-such-page"]  # fmt: skip
PART = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'


def ask(address, path, headers, pieces=()):
    """Status, text and how many bytes of the body were sent until the server answered; it has to, before the end."""
    there, sent = urlsplit(address), 0
    with socket.create_connection((there.hostname, there.port), timeout=20) as connection:
        lines = [f"POST /{path} HTTP/1.1", f"Host: localhost:{there.port}", *headers, "", ""]
        connection.sendall("\r\n".join(lines).encode())
        for piece in pieces:
            if select.select([connection], [], [], 0)[0]:
                break
            try:
                connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
            except ConnectionError:  # it has answered and hung up
                break
            sent += len(piece)
        answer = http.client.HTTPResponse(connection, method="POST")
        answer.begin()
        return answer.status, answer.read().decode(), sent


def sentence(text):
    said = json.loads(text)["error"]
    assert len(said.splitlines()) == 1 and said.endswith(".") and "/" not in said
    return said


NAMELESS = b'--b\r\nContent-Disposition: form-data; name="files"\r\n\r\nx\r\n--b--\r\n'
TWO_KINDS = PART + b"x\r\n" + NAMELESS


@pytest.mark.parametrize("body", [NAMELESS, TWO_KINDS, b"--b\r\n\r\n\r\n--b--\r\n", b"", b"--b--\r\n"])
def test_an_upload_without_files_is_no_fault_of_the_server(address, body):
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = httpx.post(f"{address}gradio_api/upload", content=body, headers=kind)
    assert answer.status_code < 500 and len(answer.text.splitlines()) == 1
    assert "Error" not in answer.text and httpx.get(address).status_code == 200


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=b", "text/plain"])
@pytest.mark.parametrize("path", EVENTS)
def test_a_body_that_says_it_is_too_big_is_refused_before_it_comes(address, path, kind):
    status, text, _ = ask(address, path, [f"Content-Type: {kind}", f"Content-Length: {400 * MB}"])
    if path.endswith("component_server") and "multipart" in kind:
        assert status == 422  # no form is taken there, of whatever size
    else:
        assert status == 413 and f"at most {WORDS // MB} MB" in sentence(text)


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=b"])
@pytest.mark.parametrize("path", [*EVENTS[:4], "gradio_api/upload"])
def test_a_body_that_does_not_say_is_refused_as_it_comes(address, path, kind):
    chunked = [f"Content-Type: {kind}", "Transfer-Encoding: chunked"]
    pieces = [PART if "multipart" in kind else b'{"data": ["', *[b"a" * MB] * 400]
    status, text, sent = ask(address, path, chunked, pieces)
    if path.endswith("upload") and "json" in kind:
        assert status == 400 and sent < 400 * MB  # it is not read at all
    elif path.endswith("component_server") and "multipart" in kind:
        assert status == 422 and sent < 400 * MB
    else:
        most = FILES if path.endswith("upload") else WORDS
        assert status == 413 and f"at most {most // MB} MB" in sentence(text)
        assert sent < most + 32 * MB  # what waits in between


def test_many_files_at_once_are_too_big_together(address):
    head = ["Content-Type: multipart/form-data; boundary=b", f"Content-Length: {1000 * 64 * MB}"]
    status, text, _ = ask(address, "gradio_api/upload", head)
    assert status == 413 and f"at most {FILES // MB} MB" in sentence(text)


def test_an_upload_that_was_refused_leaves_no_file(address):
    before = set(all_files())
    ask(address, "gradio_api/upload", ["Content-Type: multipart/form-data; boundary=b", "Transfer-Encoding: chunked"],
        [PART, *[b"a" * MB] * 100])  # fmt: skip
    assert set(all_files()) == before


def all_files():
    return [one for one in Path(get_upload_folder()).rglob("*") if one.is_file()]


def test_what_people_send_is_taken(address, path):
    file = {"files": (path.name, path.read_bytes())}
    assert httpx.post(f"{address}gradio_api/upload", files=file).status_code == 200
    long = {"data": ["x" * (WORDS - MB), "dog", 0.1, None]}
    assert httpx.post(f"{address}gradio_api/call/segment", json=long).status_code == 200


@pytest.fixture
def stingy(loaded):
    """Address of a page that takes 2 MB of files an hour from each visitor."""
    page, wanted = build(*loaded), options("127.0.0.1", None)
    wanted["app_kwargs"]["middleware"][-1] = Middleware(Bodies, an_hour=2 * MB)
    page.launch(prevent_thread_lock=True, quiet=True, **wanted)
    yield page.local_url
    page.close()


def test_a_visitor_gives_so_many_files_an_hour(stingy):
    there = f"{stingy}gradio_api/upload"
    codes = [httpx.post(there, files={"files": ("a.bin", bytes(MB // 2))}).status_code for _ in range(3)]
    assert codes == [200, 200, 200]
    over = ["Content-Type: multipart/form-data; boundary=b", f"Content-Length: {MB}"]
    status, text, _ = ask(stingy, "gradio_api/upload", over)
    assert status == 429 and "2 MB" in sentence(text) and "wait" in text
    chunked = ["Content-Type: multipart/form-data; boundary=b", "Transfer-Encoding: chunked"]
    status, text, _ = ask(stingy, "gradio_api/upload", chunked, [PART, *[b"a" * (MB // 8)] * 400])
    assert status == 429 and "2 MB" in sentence(text)
    assert httpx.post(f"{stingy}gradio_api/call/segment", json={"data": []}).status_code == 200  # words still go
