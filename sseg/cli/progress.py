"""How far a long command is, on stderr."""

import sys
import time


class Progress:
    """Images done and the time left; a line that is overwritten on a terminal, one every ten seconds elsewhere."""

    def __init__(self, total: int, every: float = 10.0):
        self.total, self.done, self.every = total, 0, every
        self.start = self.said = time.monotonic()
        self.live = sys.stderr.isatty()

    def step(self) -> None:
        """One more image is done."""
        self.done += 1
        now = time.monotonic()
        if not self.live and now - self.said < self.every and self.done < self.total:
            return
        self.said = now
        each = (now - self.start) / self.done
        line = f"{self.done} of {self.total} images, {each:.2f} s each, {_time(each * (self.total - self.done))} left"
        print(f"\r{line:<70}" if self.live else line, end="" if self.live else "\n", file=sys.stderr, flush=True)

    def pause(self) -> None:
        """What is written next to stderr gets a line of its own."""
        if self.live and self.done:
            print(file=sys.stderr, flush=True)


def _time(seconds: float) -> str:
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 3600 else f"{seconds // 3600} h {seconds % 3600 // 60} min"
