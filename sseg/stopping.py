"""Ctrl-C ends a command with one line."""

import functools
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

STOPPED = 130  # exit code of a program that Ctrl-C ended, as shells have it


def stoppable(said: str):
    """Decorator for a command's `main`, which returns the exit code: on Ctrl-C it says that line and returns 130."""

    def decorate(main):
        @functools.wraps(main)
        def wrapped(*args, **kw):
            try:
                return main(*args, **kw)
            except KeyboardInterrupt:
                print(said, file=sys.stderr)
                return STOPPED

        return wrapped

    return decorate


@contextmanager
def ends_at_once(said: str) -> Iterator[None]:
    """While it is entered, Ctrl-C says that line and ends the process, where nothing can be lost: libraries that are
    being imported now and then catch the exception that Ctrl-C is otherwise."""
    if threading.current_thread() is not threading.main_thread():  # others can set no handler, and are not interrupted
        yield
        return

    def end(*_):
        os.write(2, f"{said}\n".encode())
        os._exit(STOPPED)

    before = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Stop:
    """While it is entered, Ctrl-C is only noted in `asked`, for work that ends where nothing is lost; a second one
    interrupts as ever."""

    def __init__(self):
        self.asked, self._before = False, None

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():  # others can set no handler, and are not interrupted
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_):
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _note(self, *_):
        self.asked = True
        self.__exit__()
