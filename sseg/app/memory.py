"""Memory that runs have freed goes back to the system.

Many threads allocate and free buffers of many sizes; glibc keeps what was freed, in pieces that fit ever fewer of the
next, so that a page in use grew by 85 MB in a thousand answers without holding anything more (docs/reliability.md).
"""

import ctypes
import sys
import threading
import time

MAPPED = 512 << 10  # bytes from which a buffer is mapped by itself, and goes back to the system when it is freed
_M_MMAP_THRESHOLD = -3  # of malloc.h
EVERY = 5.0  # seconds between two times: each takes some milliseconds
_lock, _last = threading.Lock(), -EVERY


def give_back(every: float = EVERY) -> None:
    """Return freed memory to the system, if it has not been done in the last `every` seconds; only glibc needs it."""
    global _last
    with _lock:
        if time.monotonic() - _last < every or _trim is None:
            return
        _last = time.monotonic()
    _trim(0)


def map_large_buffers() -> None:
    """Keep large buffers out of the heap, which they would leave in pieces: glibc puts them there once some were freed,
    unless it is told from which size on it may not."""
    if _libc is not None:
        _libc.mallopt(_M_MMAP_THRESHOLD, MAPPED)


def _glibc():
    """The C library, if it is glibc."""
    if sys.platform != "linux":
        return None
    try:
        library = ctypes.CDLL(None)
        return library if library.malloc_trim and library.mallopt else None
    except (AttributeError, OSError):
        return None


_libc = _glibc()
_trim = _libc and _libc.malloc_trim
