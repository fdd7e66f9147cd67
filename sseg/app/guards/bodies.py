"""How much a request may bring: looked at before it lies in memory, and as it comes where it does not say its size."""

import time
from collections import OrderedDict

from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException
from starlette.responses import JSONResponse

from sseg.app.guards.gate import space_hosts

MB = 1 << 20
FILES, WORDS = 64 * MB, 2 * MB  # most of a request with files, and of any other
DROPPED = 64 * MB  # most that is read of a body after it was refused
AN_HOUR = 1 << 30  # of files from one visitor
HOUR = 3600.0
VISITORS = 10_000  # remembered at once
TOO_BIG = "This request is too big: send at most {most} MB at once."
NO_FILES = 'These are no files: send each as a part of multipart/form-data named "files", with a file name.'
SHAPELESS = (TypeError, ValueError, AttributeError, KeyError)  # what gradio's upload ends in where a part has no name
TOO_MUCH = "Over {most} MB of files came from your address within an hour: wait a while before you send more."


class Bodies:
    """ASGI middleware: refuses what is too big with 413, and a visitor's files with 429 once they are too many."""

    def __init__(self, app, files=FILES, words=WORDS, an_hour=AN_HOUR):
        self.app, self.files, self.words = app, files, words
        self.given = Given(an_hour)

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        is_upload = scope["path"].rstrip("/").endswith("/upload")
        body = _Body(receive, send, self.files if is_upload else self.words)
        if is_upload:
            body.given, body.visitor = self.given, visitor(scope)
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isascii() and declared.isdigit() and not body.takes(int(declared)):
            return await body.refusal.send(receive, send)
        try:
            await self.app(scope, body.receive, body.send)
        except Exception as error:
            if is_upload and not body.answered and isinstance(error, SHAPELESS):
                body.refusal = body.refusal or Refusal(422, NO_FILES)
            if not body.refusal:
                raise
        if body.refusal and not body.answered:
            await body.refusal.send(receive, send)


class _Body:
    """The body of one request, as it comes. Once there is a refusal, it takes the place of the app's answer."""

    def __init__(self, receive, send, most):
        self.source, self.pass_on, self.most = receive, send, most
        self.given = self.visitor = self.refusal = None
        self.came, self.answered = 0, False

    def takes(self, size) -> bool:
        """Whether so many bytes more are let in; there is a refusal if not."""
        if self.came + size > self.most:
            self.refusal = Refusal(413, TOO_BIG.format(most=self.most // MB))
        elif self.given and not self.given.allows(self.visitor, size):
            self.refusal = Refusal(429, TOO_MUCH.format(most=self.given.most // MB))
        return not self.refusal

    async def receive(self):
        message = await self.source()
        size = len(message.get("body", b""))
        if not self.takes(size):
            raise MultiPartException(self.refusal.said)  # on which gradio deletes what it has written of the files
        self.came += size
        if self.given:
            self.given.add(self.visitor, size)
        return message

    async def send(self, message):
        if not self.refusal:
            self.answered = True
            await self.pass_on(message)


class Refusal:
    """An answer of one sentence, instead of the app's."""

    def __init__(self, status, said):
        self.said = said
        self.answer = JSONResponse({"error": said}, status, {"Connection": "close"})

    async def send(self, receive, send):
        """The answer, then its end once some of what is still coming has been dropped: closed at once, the connection
        would be torn down before a client that is still sending has read a word."""
        status, headers = self.answer.status_code, self.answer.raw_headers
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": self.answer.body, "more_body": True})
        left, more = DROPPED, True
        while more and left > 0:
            message = await receive()
            left -= len(message.get("body", b""))
            more = message.get("more_body", False)
        await send({"type": "http.response.body"})


class Given:
    """Bytes that each visitor gave within the last hour, or a little more."""

    def __init__(self, most):
        self.most = most
        self._since = OrderedDict()  # visitor -> when the counting began, bytes since then

    def allows(self, visitor, size) -> bool:
        return self._count(visitor)[1] + size <= self.most

    def add(self, visitor, size):
        began, count = self._count(visitor)
        self._since[visitor] = began, count + size
        self._since.move_to_end(visitor)
        while len(self._since) > VISITORS:
            self._since.popitem(last=False)

    def _count(self, visitor):
        now = time.monotonic()
        began, count = self._since.get(visitor, (now, 0))
        return (began, count) if now - began < HOUR else (now, 0)


def visitor(scope) -> str:
    """The address that a request came from; in a Space, what its proxy says."""
    forwarded = Headers(scope=scope).getlist("x-forwarded-for") if space_hosts() else []
    return forwarded[-1].rpartition(",")[2].strip() if forwarded else (scope.get("client") or [""])[0]
