"""The memory that a run takes: a process and all that it starts, Ray's daemons and workers among them."""

import os
import threading
from pathlib import Path

EVERY_S = 0.25


class PeakMemory:
    """Watches a tree of processes while its block runs.

    Measured is PSS, the proportional set size: a page that several processes share, such as one of Ray's object
    store, counts once in the sum. (RSS would count it once for each.) Linux only.

    Args:
        pid: the root of the tree; this process by default.

    Attributes:
        peak_bytes: the largest sum so far.
        at_peak: bytes by name of process, at that moment.
    """

    def __init__(self, pid: int | None = None):
        self._root = pid or os.getpid()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.peak_bytes = 0
        self.at_peak: dict[str, int] = {}

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(EVERY_S):
            by_name: dict[str, int] = {}
            for pid in tree(self._root):
                name, size = _name(pid), _pss(pid)
                by_name[name] = by_name.get(name, 0) + size
            if sum(by_name.values()) > self.peak_bytes:
                self.peak_bytes, self.at_peak = sum(by_name.values()), by_name


def tree(root: int) -> list[int]:
    """The ids of a process and of all its descendants that live now."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # the name, in parentheses, may hold anything; behind it stand the state and the parent's id
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue  # it has ended meanwhile
        children.setdefault(parent, []).append(int(folder.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def _pss(pid: int) -> int:
    """Bytes; 0 of a process that has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "ended"
