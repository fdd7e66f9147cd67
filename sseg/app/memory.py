"""Memory that runs have freed goes back to the system.

Many threads allocate and free buffers of many sizes; glibc keeps what was freed, in pieces that fit ever fewer of the
next, so that a page in use grew by 85 MB in a thousand answers without holding anything more (docs/reliability.md).
"""

import ctypes
import sys
import threading
import time

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


def _glibc_trim():
    if sys.platform != "linux":
        return None
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):  # another C library
        return None


_trim = _glibc_trim()
