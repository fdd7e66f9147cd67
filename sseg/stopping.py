"""Ctrl-C ends a command with one line."""

import functools
import signal
import sys
import threading

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
