"""Keep freed memory in the process: half of a small network's step is page faults otherwise."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # from glibc's malloc.h
_KEEP = 2**31 - 1  # bytes of free memory at the heap's top before any goes back to the system


def keep_freed_memory() -> bool:
    """Makes glibc's allocator reuse large blocks instead of mapping and unmapping each one.

    The arrays of a network's layers are some MB each and live for milliseconds. By default glibc maps each and
    gives it back, and the kernel zeroes its pages anew every time. Call it once, early, in a process that does
    such work; a process then keeps its peak memory. Where the C library is another one nothing is changed.

    Returns:
        whether the setting was taken.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return bool(mallopt and mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, _KEEP))
