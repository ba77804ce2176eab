"""A Ray head of its own, as `ray start` makes one: other ports and folders than any other's, a token, loopback."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from free_ports import free_ports
from memory import tree

LOOPBACK = "127.0.0.1"
START_S = 60.0
REPOSITORY = Path(__file__).parents[1]


@dataclass(frozen=True)
class Head:
    """A head that runs.

    Attributes:
        pid: of the process that all of its own descend from.
        dashboard: address that jobs are submitted to.
        environment: of its commands; it holds the token's place.
    """

    pid: int
    dashboard: str
    environment: dict[str, str]

    def ray(self, *arguments: object, cwd: Path = REPOSITORY, timeout: float = 200) -> subprocess.CompletedProcess:
        """Runs `ray` as a person would, to its end."""
        command = [sys.executable, "-m", "ray.scripts.scripts", *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, cwd=cwd, timeout=timeout, env=self.environment, check=False
        )

    def answers(self, token: str) -> int:
        """The HTTP status that the dashboard gives who asks for its version."""
        request = Request(f"{self.dashboard}/api/version", headers={"Authorization": f"Bearer {token}"})
        try:
            return urlopen(request, timeout=5).status
        except HTTPError as error:
            return error.code
        except OSError:
            return 0


@contextmanager
def running(root: Path, cpus: int) -> Iterator[Head]:
    """Runs a head in the repository's folder while the block runs; `root` is where its jobs put what they make."""
    folder = Path(tempfile.mkdtemp(prefix="er", dir="/tmp"))  # a short name: Ray puts sockets there
    token = folder / "token"
    with os.fdopen(os.open(token, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
    port, dashboard, agent = free_ports(3)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_TMPDIR": str(folder),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_ADDRESS": f"{LOOPBACK}:{port}",
        "RAY_API_SERVER_ADDRESS": f"http://{LOOPBACK}:{dashboard}",
        "EMOTION_RAY_HOME": str(root),
        "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    flags = ["--head", "--block", "--num-cpus", cpus, "--port", port, "--temp-dir", folder / "ray"]
    flags += ["--dashboard-host", LOOPBACK, "--dashboard-port", dashboard, "--dashboard-agent-listen-port", agent]
    flags += ["--object-store-memory", 100 * 2**20]
    log = folder / "head.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", "start", *map(str, flags)],
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=REPOSITORY,
            env={name: value for name, value in environment.items() if name != "RAY_ADDRESS"},
        )
    head = Head(process.pid, environment["RAY_API_SERVER_ADDRESS"], environment)
    try:
        deadline = time.monotonic() + START_S
        while "Ray runtime started" not in (said := log.read_text()) or head.answers(token.read_text()) != 200:
            assert process.poll() is None and time.monotonic() < deadline, said
            time.sleep(0.2)
        yield head
    finally:
        for pid in tree(process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)
