"""Which files somebody opened, by Linux's inotify."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_IN_OPEN = 0x20  # from sys/inotify.h


@contextmanager
def watched(path: Path) -> Iterator[list[bool]]:
    """Watches a file: at the end, the list holds whether it has been opened, by anybody."""
    if not sys.platform.startswith("linux"):
        pytest.skip("inotify is Linux's")
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_NONBLOCK)
    opened: list[bool] = []
    try:
        if libc.inotify_add_watch(descriptor, os.fsencode(path), _IN_OPEN) < 0:
            raise OSError(ctypes.get_errno(), "inotify_add_watch")
        yield opened
        try:
            opened.append(bool(os.read(descriptor, 4096)))
        except BlockingIOError:
            opened.append(False)
    finally:
        os.close(descriptor)
