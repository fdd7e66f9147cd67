"""A line with the time left, for everything that takes long."""

import sys
import time


class Progress:
    """Iterate over a sized thing and write a line with the time left to stderr, at most twice a second.

    `done`: how many were finished by an earlier run, of which nothing has to be said but the count.
    """

    def __init__(self, items, noun: str = "images", done: int = 0):
        self.items, self.noun, self.done = items, noun, done

    def __iter__(self):
        start = shown = time.monotonic()
        total, live = len(self.items), sys.stderr.isatty()
        every = 0.5 if live else 30.0  # a log wants few lines
        for done, item in enumerate(self.items):
            yield item
            now = time.monotonic()
            if now - shown >= every or (live and done + 1 == total):
                shown = now
                left = (now - start) / (done + 1) * (total - done - 1)
                line = f"{self.done + done + 1} of {self.done + total} {self.noun}, {left:.0f} s left"
                print(f"\r{line}  " if live else line, end="" if live else "\n", file=sys.stderr, flush=True)
        if live:
            print(file=sys.stderr)
