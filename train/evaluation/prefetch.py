"""Decoding ahead of the model, in threads: Pillow lets go of the interpreter while it decodes."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor


class Prefetched:
    """Pictures `start`.. of a benchmark as (number, sample), `workers` of them decoded ahead; in order."""

    def __init__(self, benchmark, workers: int = 2, start: int = 0):
        self.benchmark, self.workers, self.start = benchmark, workers, start

    def __len__(self) -> int:
        return len(self.benchmark) - self.start

    def __iter__(self) -> Iterator[tuple]:
        if not self.workers or not hasattr(self.benchmark, "__getitem__"):
            yield from ((i, one) for i, one in enumerate(self.benchmark) if i >= self.start)
            return
        with ThreadPoolExecutor(self.workers) as pool:
            waiting = deque()
            try:
                for number in range(self.start, len(self.benchmark)):
                    waiting.append((number, pool.submit(self.benchmark.__getitem__, number)))
                    if len(waiting) > 2 * self.workers:
                        yield self._next(waiting)
                while waiting:
                    yield self._next(waiting)
            finally:
                pool.shutdown(cancel_futures=True)

    @staticmethod
    def _next(waiting):
        number, future = waiting.popleft()
        return number, future.result()
