"""Where the work runs: a cluster that is there, or a Ray of our own on this machine."""

import logging
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from emotion_ray.data.storage import cause_of
from emotion_ray.distributed.preflight import Machine
from emotion_ray.errors import EmotionRayError
from emotion_ray.settings.checks import home_filled_in

# Of a Ray that ends with its command. A worker that Ray lets go after an idle second takes two of CPU time to replace.
KEEP_WORKERS = {"RAY_idle_worker_killing_time_threshold_ms": "600000"}
# Nobody reads its metrics, and each of its processes would spend 1% of a core on them.
NO_METRICS = {"RAY_enable_metrics_collection": "0", "RAY_task_events_report_interval_ms": "0"}
# Where the processes of a Ray find its dashboard: else they look for any Ray on their machine.
DASHBOARD = "RAY_API_SERVER_ADDRESS"
# What Ray says, in a bare `Exception`, where its processes are not up after the half minute that it gives them.
SLOW_START = "timed out during startup"


@dataclass(frozen=True)
class Place:
    """Where the work runs.

    Attributes:
        own: whether this process started it and ends it.
        nodes: machines in it.
        cpus, gpus: of all its machines.
        machines: what each has.
        free_cpus: that no job held when this process joined.
    """

    own: bool
    nodes: int
    cpus: float
    gpus: float
    machines: tuple[Machine, ...]
    free_cpus: float

    def __str__(self) -> str:
        kind = "this machine" if self.own else f"a cluster of {self.nodes} node{'s' if self.nodes > 1 else ''}"
        free = f" ({self.free_cpus:g} CPU free now)" if self.free_cpus < self.cpus else ""
        return f"{kind}: {self.cpus:g} CPU, {self.gpus:g} GPU{free}"


@contextmanager
def connected(cpus: int | None = None, metrics: bool = False, watchers: int = 0) -> Iterator[Place]:
    """Joins the cluster that `RAY_ADDRESS`, a submitted job or `ray start` names, else starts Ray here.

    One that we start is sized to this machine, listens on loopback alone (see this package's `__init__`), turns away
    who has not Ray's token, and ends with the block. A connection that this process has already is used and left as
    it is.

    Args:
        cpus: how many CPUs a Ray of our own gets; all those this process may use by default.
        metrics: whether a Ray of our own collects metrics, for who reads them at its port.
        watchers: CPUs more that a Ray of our own is told of, for processes that only watch over groups of workers. It
            gets a dashboard then: Ray Train's own watcher, which gives back the CPUs of a group that was killed, asks
            it who is alive.

    Raises:
        EmotionRayError: no Ray can be joined, or none starts here in time.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    had_connection = ray.is_initialized()
    own = starts_here()
    if not had_connection:
        quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
        try:
            if own:
                for name, value in (KEEP_WORKERS | ({} if metrics else NO_METRICS)).items():
                    os.environ.setdefault(name, value)
                here = (cpus or len(os.sched_getaffinity(0))) + watchers
                _own_token()
                dashboard = _own_dashboard() if watchers else {"include_dashboard": False}
                ray.init(address="local", num_cpus=here, **dashboard, **quiet)
            else:
                ray.init(**quiet)
        except (ConnectionError, RuntimeError, OSError, ValueError) as error:
            if own:
                fix = "see that there is free space and that ~/.ray and /tmp can be written"
                raise EmotionRayError(f"Ray does not start on this machine ({cause_of(error)}): {fix}") from None
            fix = "check RAY_ADDRESS, or unset it to run here"
            if not os.environ.get("RAY_ADDRESS"):
                fix = "the Ray that was started on this machine has ended, or is ill: `ray stop` clears it away"
            raise EmotionRayError(f"can't reach Ray ({cause_of(error)}): {fix}") from None
        except ray.exceptions.AuthenticationError as error:
            fix = "put its token into ~/.ray/auth_token and export RAY_AUTH_MODE=token"
            raise EmotionRayError(f"the cluster wants its token ({cause_of(error):.200}): {fix}") from None
        except Exception as error:
            if SLOW_START not in str(error):
                raise
            raise EmotionRayError(
                "Ray did not start on this machine within 30 s: end other programs that keep it busy, then try again"
            ) from None
    try:
        total = ray.cluster_resources()
        resources = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        machines = tuple(Machine(one.get("CPU", 0), one.get("GPU", 0)) for one in resources)
        cpus, free = total.get("CPU", 0), ray.available_resources().get("CPU", 0)
        made_up = watchers if own else 0
        yield Place(own, len(machines), cpus - made_up, total.get("GPU", 0), machines, free - made_up)
    finally:
        if not had_connection:
            ray.shutdown()
        if own and watchers:
            os.environ.pop(DASHBOARD, None)


def _own_dashboard() -> dict[str, Any]:
    """Settings of a Ray whose processes ask this very Ray's dashboard, also where other Rays run on this machine."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    os.environ[DASHBOARD] = f"http://127.0.0.1:{port}"
    return {"include_dashboard": True, "dashboard_host": "127.0.0.1", "dashboard_port": port}


def starts_here() -> bool:
    """Whether `connected` would start a Ray of our own: no cluster is there and none is joined yet."""
    return not ray.is_initialized() and not _is_there()


def _is_there() -> bool:
    """Whether a cluster is named by the environment or was started on this machine by `ray start`."""
    folder = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray"
    return bool(os.environ.get("RAY_ADDRESS")) or (folder / "ray_current_cluster").exists()


def _own_token() -> None:
    """Makes Ray's authentication token readable by its owner alone; Ray would write it under the common umask."""
    token = home_filled_in(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    token.parent.mkdir(parents=True, exist_ok=True)
    if token.exists() and token.stat().st_size == 0:  # of a Ray that a full disk stopped here
        token.unlink()
    whole = token.with_name(f".{token.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(whole, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
        os.link(whole, token)
    except FileExistsError:
        token.chmod(0o600)
    finally:
        whole.unlink(missing_ok=True)
