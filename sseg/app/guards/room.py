"""Room on the disk: of all uploads and answers in the cache the oldest go, once together they take too much."""

import re
import time
from contextlib import suppress
from pathlib import Path

from gradio import utils
from starlette.concurrency import run_in_threadpool

KEPT = 2 << 30  # bytes
EVERY = 10.0  # seconds at least between two looks
AROUND = 8 << 10  # bytes that a file and its folder take besides what it holds
_OURS = re.compile(r"[0-9a-f]{64}")  # a folder of the cache; whatever else lies beside is not ours to delete
_BEGUN = "tmp????????"  # an upload that has not arrived yet, or never did


class Room:
    """ASGI middleware: looks before requests that may leave a file. `most`: bytes kept; `every`: see EVERY."""

    def __init__(self, app, most=KEPT, every=EVERY):
        self.app, self.most, self.every = app, most, every
        self._looked = -every

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http" and scope["method"] == "POST" and time.monotonic() - self._looked >= self.every:
            self._looked = time.monotonic()
            blocks = scope["app"].get_blocks().blocks.values()
            own = set().union(*(getattr(one, "keep_in_cache", ()) for one in blocks))  # what the page shows at first
            await run_in_threadpool(make_room, Path(utils.get_upload_folder()), self.most, own)
        await self.app(scope, receive, send)


def make_room(folder: Path, most: int, own=frozenset()) -> None:
    """Delete the oldest files of an upload cache until at most `most` bytes are left, never those of `own`."""
    found = []
    for path in [*folder.glob(_BEGUN), *(file for one in folder.iterdir() if _OURS.fullmatch(one.name)
                                         for file in one.glob("*"))]:  # fmt: skip
        with suppress(OSError):  # gone meanwhile
            there = path.lstat()
            found.append((there.st_mtime, there.st_size + AROUND, path))
    left = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if left <= most:
            break
        if str(path) not in own:
            with suppress(OSError):
                path.unlink()
                left -= size
                if path.parent != folder:
                    path.parent.rmdir()
