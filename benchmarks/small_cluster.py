"""A cluster of three small nodes on this machine, and what may happen to one: nodes go, stop and go, fill up."""

import os
import secrets
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from free_ports import free_ports
from memory import tree

NODES = 3
STORE_BYTES = 80 * 2**20  # of each node's object store; Ray takes no less than 75 MiB
PUT_BYTES = 2**20
SHARE_STOPPED = 0.9  # of the time, of a slow node's processes
PERIOD_S = 1.0
FREED_S = 60.0


class SmallCluster:
    """Three nodes of one CPU each, the head among them.

    Attributes:
        address: to join it by.
        environment: of commands that join it.
    """

    def __init__(self):
        from ray.cluster_utils import Cluster  # reads its environment, which `private_ray` has set

        self._cluster = Cluster()
        # As any real cluster has one: Ray Train asks it before it frees what a run whose driver died had reserved.
        dashboard = {"include_dashboard": True, "dashboard_port": free_ports(1)[0]}
        self._cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES, **dashboard)
        self.address = self._cluster.address
        self.environment = {**os.environ, "RAY_ADDRESS": self.address, "OMP_NUM_THREADS": "1"}

    def heal(self) -> None:
        """Adds nodes until there are three."""
        while len(self._cluster.worker_nodes) < NODES - 1:
            self._cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)

    def remove(self, node: Any) -> None:
        """Kills all processes of a node."""
        self._cluster.remove_node(node, allow_graceful=False)

    def kill(self, pid: int) -> bool:
        """Ends a process as one that ran out of memory; gives whether it was there."""
        return bool(send([pid], signal.SIGKILL))

    def busy(self, title: str) -> dict[Any, list[int]]:
        """By node, not the head, that has any: its workers whose process title begins with `ray::` and this."""
        found = {node: titled(_raylet(node), title) for node in self._cluster.worker_nodes}
        return {node: pids for node, pids in found.items() if pids}

    @contextmanager
    def one_slow(self) -> Iterator[None]:
        """Has a node that is not the head, its workers and all, stand still for nine tenths of each second."""
        raylet, over = _raylet(next(iter(self._cluster.worker_nodes))), threading.Event()

        def stop_and_go() -> None:
            while not over.is_set():
                pids = tree(raylet)
                send(pids, signal.SIGSTOP)
                over.wait(SHARE_STOPPED * PERIOD_S)
                send(pids, signal.SIGCONT)
                over.wait((1 - SHARE_STOPPED) * PERIOD_S)

        thread = threading.Thread(target=stop_and_go)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    @contextmanager
    def stores_filled(self, share: float) -> Iterator[None]:
        """Has so much of each node's object store be in use, in such a way that Ray can't put it on the disk."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        @ray.remote(num_cpus=0)
        class Filler:
            def fill(self, objects: int) -> None:
                self.refs = [ray.put(np.zeros(PUT_BYTES, np.uint8)) for _ in range(objects)]
                self.views = ray.get(self.refs)  # what is mapped can be neither moved nor dropped

        ray.init(self.address, log_to_driver=False)
        try:
            nodes = [
                NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in ray.nodes() if node["Alive"]
            ]
            fillers = [Filler.options(scheduling_strategy=node).remote() for node in nodes]
            ray.get([filler.fill.remote(int(share * STORE_BYTES / PUT_BYTES)) for filler in fillers])
            yield
        finally:
            ray.shutdown()

    def held_cpus(self) -> float:
        """CPUs that something still holds, after `FREED_S` in which all that has ended may free its own."""
        import ray

        def held() -> float:
            return ray.cluster_resources().get("CPU", 0) - ray.available_resources().get("CPU", 0)

        ray.init(self.address, log_to_driver=False, logging_level="ERROR")
        try:
            return 0.0 if wait_until(lambda: not held(), FREED_S) else held()
        finally:
            ray.shutdown()

    def close(self) -> None:
        self._cluster.shutdown()


@contextmanager
def private_ray() -> Iterator[None]:
    """Has a Ray that is started while the block runs keep to a folder, a token and a loopback of its own."""
    with tempfile.TemporaryDirectory(prefix="er", dir="/tmp") as folder:  # a short name: Ray puts sockets there
        os.environ.pop("RAY_ADDRESS", None)
        os.environ |= {
            "RAY_TMPDIR": folder,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        import emotion_ray.distributed  # noqa: F401  before Ray, which it tells to keep to loopback

        yield


def wait_until(happened: Callable[[], Any], seconds: float) -> Any:
    """What `happened` gives as soon as that is true; None if it did not come to that in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := happened():
            return found
        time.sleep(0.02)
    return None


def _raylet(node: Any) -> int:
    return next(process.process.pid for process in node.all_processes["raylet"])


def titled(root: int, title: str) -> list[int]:
    """Those workers of Ray below a process whose process title begins with `ray::` and this."""
    found = []
    for pid in tree(root):
        try:
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(f"ray::{title}".encode()):
                found.append(pid)
        except OSError:
            continue  # it has ended meanwhile
    return found


def send(pids: list[int], number: signal.Signals) -> int:
    """Sends a signal to processes and gives how many of them it reached."""
    reached = 0
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
        reached += 1
    return reached
