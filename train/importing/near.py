"""Near duplicates by the difference hash (dHash): 64 bits, whether the image gets lighter from left to right."""

from collections import defaultdict

import numpy as np
from PIL import Image

BITS = 3  # hashes that differ in at most so many are of near duplicates
_BANDS = range(0, 64, 16)  # of four bands one is equal wherever at most three bits differ


def dhash(image: np.ndarray) -> int:
    """The hash of an image (H, W, 3) uint8."""
    grey = np.asarray(Image.fromarray(image).convert("L").resize((9, 8), Image.Resampling.BOX)).astype(int)
    return int.from_bytes(np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes(), "big")


class Near:
    """Remembers hashes, and finds the first one before that is near."""

    def __init__(self):
        self.bands: dict[tuple[int, int], list[tuple[int, str]]] = defaultdict(list)

    def add(self, code: int, name: str) -> str | None:
        """The name of an earlier near duplicate, or None; `name` is remembered if it has none."""
        keys = [(start, code >> start & 0xFFFF) for start in _BANDS]
        for key in keys:
            for other, earlier in self.bands[key]:
                if (code ^ other).bit_count() <= BITS:
                    return earlier
        for key in keys:
            self.bands[key].append((code, name))
        return None
