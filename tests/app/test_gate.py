"""Under which names the page answers, and what it tells browsers: raw requests to started pages."""

import http.client
import re
import socket
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx
import pytest

from sseg.app import failures, main
from sseg.app.build import build, options
from tests.helpers.started import app as started_app

HEADERS = {"x-content-type-options": "nosniff", "referrer-policy": "same-origin"}


def get(address, host, path="/", method="GET"):
    """Status, headers and body; `host` is what the Host header says, None for no such header."""
    there = urlsplit(address)
    connection = http.client.HTTPConnection(there.hostname, there.port, timeout=30)
    connection.putrequest(method, path, skip_host=True)
    if host is not None:
        connection.putheader("Host", host)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, {key.lower(): value for key, value in answer.getheaders()}, body


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"data": Infinity}', "application/json"),
        (b"\x82\xd3\xfe", "x/y"),
        (b'{"data": "x"}', "application/json"),
        (b"", "application/json"),
    ],
)
@pytest.mark.parametrize("place", ["gradio_api/call/explain_pixel", "gradio_api/queue/join", "gradio_api/reset"])
def test_a_request_of_another_shape_is_one_sentence(address, place, body, kind):
    """Found by `make fuzz`: bytes and numbers that JSON does not have were a fault of the server."""
    answer = httpx.post(address + place, content=body, headers={"Content-Type": kind})
    assert answer.status_code == 422 and answer.json()["error"].startswith("This is no request that the page takes")


def test_a_form_where_viewers_ask_in_json_is_one_sentence(address):
    """Found by `make fuzz`: a fault of the server."""
    answer = httpx.post(address + "gradio_api/component_server", files={"files": ("a.png", b"x")})
    assert answer.status_code == 422 and answer.json()["error"] == failures.MALFORMED


def test_a_stream_of_an_unknown_session_ends_and_is_no_fault_of_the_server(address, caplog):
    """Found by `make fuzz`: the log filled with tracebacks."""
    answer = httpx.get(address + "gradio_api/queue/data?session_hash=unknown")
    assert answer.status_code == 200 and '"session_not_found":true' in answer.text
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize(
    "body",
    [
        {"data": [], "fn_index": -1, "session_hash": "x"},
        {"data": [], "session_hash": "x"},
        {"data": [], "fn_index": 10**6, "session_hash": "x"},
        {"data": []},
    ],
)
@pytest.mark.parametrize("place", ["gradio_api/call/%2e%2e", "gradio_api/queue/join", "gradio_api/run/predict"])
def test_an_event_that_the_page_does_not_have_is_one_sentence(address, place, body):
    """Found by `make fuzz`: a fault of the server."""
    answer = httpx.post(address + place, json=body)
    assert answer.status_code in (400, 422)
    assert "detail" in answer.json() or answer.json()["error"] == failures.MALFORMED


def test_every_event_without_its_inputs_is_one_sentence(loaded, capfd):
    """Found by `make fuzz`: the page wrote a traceback for what a client had left out."""
    page = build(*loaded)
    page.launch(prevent_thread_lock=True, quiet=True, **options("127.0.0.1", None))
    try:
        for number in page.fns:
            for data, told in (([], {"index": -99}), (["dog"] * 20, None)):
                sent = {"data": data, "fn_index": number, "session_hash": "x", "event_data": told}
                answer = httpx.post(f"{page.local_url}gradio_api/run/predict", json=sent, timeout=60)
                said = answer.json().get("error", "")
                assert "\n" not in said and said != failures.BUG, (number, sent, said)
    finally:
        page.close()
    assert "Traceback" not in "".join(capfd.readouterr())


@pytest.fixture
def started(loaded):
    """Starts the command itself: `started(*options, **environment)` -> its address."""
    with ExitStack() as running:
        yield lambda *options, **environment: running.enter_context(
            started_app("--weights", str(loaded[1].folder), *options, **environment)
        )


OWN = ["localhost", "127.0.0.1", "[::1]", "localhost:7860", "127.0.0.1:1", "[::1]:7860", "LocalHost", "localhost."]
FOREIGN = ["rebind.example", "rebind.example:7860", "localhost.rebind.example", "127.0.0.1.rebind.example", "", "null",
           "localhost@rebind.example", "rebind.example#localhost", "local host", "192.168.7.7", "[::2]", "::1:x",
           "localhost:7860:7860", "localhost/", "xn--hxajbheg2az3al.example", "2130706433", "owner-name.hf.space",
           "huggingface.co"]  # fmt: skip


@pytest.mark.parametrize("host", OWN)
def test_the_page_answers_to_the_names_of_this_machine(address, host):
    assert get(address, host)[0] == 200


@pytest.mark.parametrize("host", FOREIGN)
def test_a_foreign_name_is_refused_everywhere(address, host):
    for path in ("/", "/config", "/gradio_api/info", "/gradio_api/queue/data?session_hash=x", "/theme.css", "/no"):
        status, headers, body = get(address, host, path)
        assert status in (400, 403), path  # 400: no name at all, says the server itself
        if status == 403:
            text = body.decode()
            assert "--allowed-host" in text and len(text.splitlines()) == 1 and "sseg" not in text.lower()
            assert headers["content-type"].startswith("text/plain") and headers.items() >= HEADERS.items()
    assert get(address, host, "/gradio_api/upload", "POST")[0] in (400, 403)


def test_a_request_without_a_name_is_refused(address):
    there = urlsplit(address)
    for head in ("GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: localhost\r\nHost: rebind.example\r\n\r\n",
                 "GET http://localhost/config HTTP/1.1\r\nHost: rebind.example\r\nConnection: close\r\n\r\n",
                 "GET /config HTTP/1.1\r\nHost: rebind.example\r\nX-Forwarded-Host: localhost\r\n"
                 "Forwarded: host=localhost\r\nConnection: close\r\n\r\n"):  # fmt: skip
        with socket.create_connection((there.hostname, there.port), timeout=30) as connection:
            connection.sendall(head.encode())
            assert int(connection.makefile("rb").readline().split()[1]) in (400, 403), head


def test_answers_of_every_kind_carry_the_headers(address):
    page = httpx.get(address)
    script = re.search(r'src="(\./assets/[^"]+\.js)"', page.text)[1]
    for where in ("", "config", "theme.css", "gradio_api/info", "no-such-page", script, "gradio_api/file=/etc/passwd"):
        headers = httpx.get(address + where).headers
        assert headers.items() >= HEADERS.items(), where
        assert headers["x-frame-options"] == "SAMEORIGIN" and "frame-ancestors 'self'" in policy(headers), where


def policy(headers):
    return [part.strip() for part in headers["content-security-policy"].split(";")]


def test_only_the_scripts_of_the_page_itself_may_run(address):
    answer = httpx.get(address)
    [scripts] = [part for part in policy(answer.headers) if part.startswith("script-src ")]
    assert "'unsafe-inline'" not in scripts and scripts.count("'sha256-") >= 3
    assert {"object-src 'none'", "base-uri 'self'", "form-action 'self'"} <= set(policy(answer.headers))
    others = policy(httpx.get(f"{address}config").headers)
    assert "sha256" not in "".join(others)


def test_an_uploaded_page_gets_no_leave_to_run_scripts(address):
    uploaded = httpx.post(f"{address}gradio_api/upload", files={"files": ("a.html", b"<script>alert(1)</script>")})
    answer = httpx.get(f"{address}gradio_api/file={uploaded.json()[0]}")
    assert answer.status_code == 200 and "sha256" not in answer.headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/monitoring", "/monitoring/summary", "/monitoring/x"])
def test_monitoring_is_closed(address, path):
    status, _, body = get(address, "localhost", path)
    assert status in (403, 404) and b"console" not in body


@pytest.mark.parametrize("slash", ["", "/"], ids=["plain", "slash"])
@pytest.mark.parametrize("place", ["gradio_api/process_recording", "gradio_api/deep_link?session_hash=visitor"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_this_page_has_no_use_for_is_closed(address, method, place, slash):
    """The first runs ffmpeg on what comes, the second writes a file for whoever asks."""
    place, _, query = place.partition("?")
    video = {"files": {"video": ("a.mp4", b"not a film")}} if method == "POST" else {}
    answer = httpx.request(method, f"{address}{place}{slash}?{query}", **video)
    assert answer.status_code == 404 and answer.text.startswith("This page has nothing there")
    assert answer.headers.items() >= HEADERS.items()


def test_names_can_be_allowed_and_a_page_of_a_space_may_be_framed_there(started):
    address = started("--host", "0.0.0.0", "--allowed-host", "pictures.example", "--allowed-host", "Other.Example:8080",
                      SPACE_HOST="owner-name.hf.space,pictures.space.example")  # fmt: skip
    allowed = ["pictures.example", "PICTURES.example:443", "other.example", "0.0.0.0", "owner-name.hf.space",
               "localhost", "pictures.space.example", "127.0.0.1:7860"]  # fmt: skip
    assert [get(address, host)[0] for host in allowed] == [200] * len(allowed)
    foreign = ["rebind.example", "other-name.hf.space", "sub.pictures.example", "192.168.7.7"]
    assert [get(address, host)[0] for host in foreign] == [403] * len(foreign)
    _, headers, _ = get(address, "owner-name.hf.space")
    assert "frame-ancestors 'self' https://huggingface.co https://*.hf.space" in policy(headers)
    assert "x-frame-options" not in headers


def test_the_address_that_a_visitor_of_the_network_uses_is_one_of_its_own(started):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: only asks which address this machine would use
        except OSError:
            pytest.skip("this machine has no network")
        here = probe.getsockname()[0]
    address = started("--host", "0.0.0.0")
    there = f"http://{here}:{urlsplit(address).port}/"
    assert get(there, f"{here}:7860")[0] == 200 and get(there, "rebind.example")[0] == 403
    assert get(address, here)[0] == 403  # it came in at 127.0.0.1


@pytest.mark.parametrize("name", ["", "*", "http://pictures.example", "pictures.example/a", "two names", "bü.example"])
def test_a_name_that_no_host_can_have_ends_the_start_with_one_sentence(name, loaded, capsys):
    assert main(["--weights", str(loaded[1].folder), "--allowed-host", name]) == 2
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.strip().splitlines()) == 1 and f'"{name}"' in said.err
