"""Under which names the page answers, and what it tells browsers to forbid.

A foreign page can give its own name the address of this machine (DNS rebinding); the browser then lets it read all that
this server says. Its requests still carry that name in the Host header, so only names of our own are answered.
"""

import base64
import hashlib
import ipaddress
import os
import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse

from sseg.app.failures import MALFORMED
from sseg.errors import SSegError

OF_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
REFUSED = "This server does not answer to that name: open it by its own, or start it with --allowed-host NAME."
CLOSED = {"process_recording", "deep_link"}  # of Gradio, for what this page does not have: ffmpeg, files from anybody
QUESTIONS = "component_server"  # where the viewers' scripts ask, in JSON
NO_SUCH = "This page has nothing there: /gradio_api/info says what it has."
FRAMED_BY = ("https://huggingface.co", "https://*.hf.space")  # pages of a Space
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9_-]+(?:\.[a-z0-9_-]+)*)\.?)(?::\d*)?", re.ASCII)
_INLINE_SCRIPT = re.compile(rb"<script(?![^>]*\ssrc\s*=)[^>]*>(.*?)</script\s*>", re.DOTALL | re.IGNORECASE)


def host_name(host: str) -> str | None:
    """Name or address in a Host header, in small letters and without port; None if it holds none."""
    found = _HOST.fullmatch(host.lower())
    return found and (found[1] or found[2])


def space_hosts() -> list[str]:
    """Names of the Hugging Face Space that this runs in, its own domains among them; none elsewhere."""
    return [name for host in os.environ.get("SPACE_HOST", "").split(",") if (name := host_name(host.strip()))]


def own_names(bound: str | None, allowed=()) -> frozenset[str]:
    """Names under which the page answers, whatever the port.

    Args:
        bound: the address or name that the server listens at, if it was chosen.
        allowed: more names, as people write them.

    Raises:
        SSegError: one of `allowed` is no name.
    """
    names = {*OF_THIS_MACHINE, *space_hosts(), *([_bare(bound)] if bound else [])}
    for one in allowed:
        name = _bare(one)
        if not name:
            raise SSegError(f'"{one}" cannot be allowed: give --allowed-host a name as in "pictures.example.org".')
        names.add(name)
    return frozenset(names)


def _bare(host: str) -> str | None:
    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return host_name(host)


def headers(framed_by=()) -> dict[str, str]:
    """What every answer says besides its policy. framed_by: sites whose pages may show this one in a frame."""
    said = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin"}
    return said if framed_by else {**said, "X-Frame-Options": "SAMEORIGIN"}  # knows no list of sites


def policy(framed_by=(), scripts=()) -> str:
    """Content-Security-Policy: nothing from elsewhere, and no inline script but those with the given hashes.

    Gradio compiles its templates ('unsafe-eval') and writes styles into the page. On a Space it asks the Hub about the
    Space itself.
    """
    hub = [*FRAMED_BY, "https://*.huggingface.co"] if framed_by else []
    parts = {
        "default-src": [],
        "script-src": ["'unsafe-eval'", *scripts],
        "style-src": ["'unsafe-inline'"],
        "img-src": ["data:", "blob:", *hub],
        "media-src": ["data:", "blob:"],
        "font-src": ["data:"],
        "connect-src": ["data:", "blob:", *hub],
        "worker-src": ["blob:"],
        "base-uri": [],
        "form-action": [],
        "frame-ancestors": list(framed_by),
    }
    return "; ".join([*(" ".join([name, "'self'", *rest]) for name, rest in parts.items()), "object-src 'none'"])


def script_hashes(page: bytes) -> list[str]:
    """Of the inline scripts of a page, as a policy names them."""
    texts = [text.replace(b"\r\n", b"\n") for text in _INLINE_SCRIPT.findall(page)]
    return [f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'" for text in texts]


async def refuse_malformed(request, error) -> JSONResponse:
    """Answer to a request of another shape. FastAPI's own repeats the request, and ends in a fault of the server where
    that is bytes or numbers that JSON does not have."""
    return JSONResponse({"error": MALFORMED}, 422)


class Gate:
    """ASGI middleware: refuses foreign names, and adds the headers to every answer."""

    def __init__(self, app, names: frozenset[str]):
        self.app, self.names = app, names
        self.framed_by = FRAMED_BY if space_hosts() else ()

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] == "websocket":
            return await (self.app(scope, receive, send) if self.knows(scope) else send({"type": "websocket.close"}))
        answer = _Answer(send, self.framed_by, is_page=scope["path"] == "/")
        if not self.knows(scope):
            await PlainTextResponse(REFUSED, 403)(scope, receive, answer.send)
        elif (last := scope["path"].rstrip("/").rpartition("/")[2]) in CLOSED:
            await PlainTextResponse(NO_SUCH, 404)(scope, receive, answer.send)
        elif last == QUESTIONS and Headers(scope=scope).get("content-type", "").strip().lower().startswith("multipart"):
            await JSONResponse({"error": MALFORMED}, 422)(scope, receive, answer.send)  # Gradio expects its own
        else:
            await self._pass_on(scope, receive, answer)

    async def _pass_on(self, scope, receive, answer):
        try:
            await self.app(scope, receive, answer.send)
        except RuntimeError as error:
            if not (answer.start and isinstance(error.__cause__, HTTPException)):
                raise
            await answer.send({"type": "http.response.body"})  # a stream of a session that is not known has said so

    def knows(self, scope) -> bool:
        """The Host is one of our names, or the address at which the request came in: no foreign name can be that."""
        hosts = Headers(scope=scope).getlist("host")
        name = host_name(hosts[0]) if len(hosts) == 1 else None
        return bool(name) and (name in self.names or name == (scope.get("server") or [None])[0])


class _Answer:
    """Sends an answer on, with headers. The page itself waits until it is whole: the headers name its scripts."""

    def __init__(self, send, framed_by, is_page):
        self.pass_on, self.framed_by, self.is_page = send, framed_by, is_page
        self.start, self.body = None, b""

    async def send(self, message):
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(headers(self.framed_by))
            self.start = message
            if not self.is_page:
                await self._begin()
        elif self.is_page and message["type"] == "http.response.body":
            self.body += message.get("body", b"")
            if not message.get("more_body"):
                await self._begin(script_hashes(self.body))
                await self.pass_on({**message, "body": self.body})
        else:
            await self.pass_on(message)

    async def _begin(self, scripts=()):
        MutableHeaders(scope=self.start)["Content-Security-Policy"] = policy(self.framed_by, scripts)
        await self.pass_on(self.start)
