"""Ctrl-C ends a command with one line."""

import functools
import sys

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
