"""What a person needs to know when something does not run: is all there, does it fit, and what to do if not.

Nothing is started or changed: no Ray, no network beyond a look at an object store that is to be used.
"""

import os
import shutil
import socket
import stat
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

import av
import torch
from av.codec.codec import UnknownCodecError
from packaging.requirements import Requirement

from emotion_ray.data.storage import Folder
from emotion_ray.errors import EmotionRayError
from emotion_ray.models.store import model_names, ways_to_a_model
from emotion_ray.settings.checks import home_filled_in
from emotion_ray.vision.mtcnn_networks import weights_path

PYTHON = (3, 11)
MEMORY_GB = (2.0, 6.0)  # free: below the first nothing runs, below the second the full job may not
DISK_GB = (0.5, 15.0)  # free: a demo, and RAVDESS's archives with their clips
SHARED_GB = 1.0  # of /dev/shm, where Ray puts what its workers share
DECODERS = {"h264": "fail", "mpeg4": "warn", "hevc": "warn", "vp8": "warn", "vp9": "warn", "vp6f": "warn"}
"""And what it means where one is missing: RAVDESS is H.264, other data may be others."""
PORTS = {8000: "serve", 8265: "Ray's dashboard"}

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        name: what was looked at.
        status: "fail": something will not run; "warn": something may not.
        detail: what was found.
        advice: what to do about it; empty where all is well.
    """

    name: str
    status: Status
    detail: str
    advice: str = ""


def examine(root: str) -> list[Finding]:
    """Looks at everything.

    Args:
        root: the folder under which everything is made, a path or URI.
    """
    checks: tuple[Callable[[], Finding], ...] = (
        python, packages, processors, graphics, memory, lambda: storage(root), ray, token, ports, decoders, encoder,
        weights, lambda: models(root),
    )  # fmt: skip
    return [check() for check in checks]


def python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info >= PYTHON:
        return Finding("Python", "ok", found)
    return Finding("Python", "fail", found, f"install Python {'.'.join(map(str, PYTHON))} or newer")


def packages() -> Finding:
    """Whether every package that this one requires is installed in a version that it takes."""
    try:
        wanted = [Requirement(text) for text in requires("emotion-ray") or ()]
    except PackageNotFoundError:
        return Finding("packages", "warn", "emotion-ray itself is not installed", "pip install -c constraints.txt -e .")
    here = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    found = {one.name: _version(one.name) for one in here}
    wrong = [
        f"{one.name} {found[one.name] or 'missing'}"
        for one in here
        if not found[one.name] or not one.specifier.contains(found[one.name], prereleases=True)
    ]
    if wrong:
        return Finding("packages", "fail", ", ".join(wrong), "pip install -c constraints.txt -e .")
    return Finding("packages", "ok", ", ".join(f"{name} {number}" for name, number in found.items()))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def processors() -> Finding:
    count = len(os.sched_getaffinity(0))
    if count > 1:
        return Finding("CPU", "ok", f"{count} that this process may use")
    return Finding("CPU", "warn", "1 that this process may use", "all runs, but nothing at the same time")


def graphics() -> Finding:
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return Finding("GPU", "ok", ", ".join(names))
    if shutil.which("nvidia-smi"):
        advice = "install a PyTorch with CUDA that fits the driver, see pytorch.org"
        return Finding("GPU", "warn", "there is a driver, but PyTorch can't use it", advice)
    return Finding("GPU", "ok", "none: everything runs on CPUs")


def memory() -> Finding:
    """Free memory, and how much of it Ray's workers can share."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")) / 1e9
        shared = shutil.disk_usage("/dev/shm").total / 1e9
    except (OSError, StopIteration):
        return Finding("memory", "warn", "can't be told on this system", "6 GB free are enough")
    found = f"{free:.1f} GB free, {shared:.1f} GB of /dev/shm"
    least, enough = MEMORY_GB
    if free < enough:
        return Finding(
            "memory", "fail" if free < least else "warn", found, "end other programs, or use fewer --workers"
        )
    if shared < SHARED_GB:
        return Finding("memory", "warn", found, "Ray will write to the disk instead: docker run --shm-size 2g")
    return Finding("memory", "ok", found)


def storage(root: str) -> Finding:
    """Whether the root can be reached and, on a disk, written and filled."""
    try:
        folder = Folder.at(root)
        folder.exists("runs")
    except EmotionRayError as error:
        return Finding("storage", "fail", str(error), "give another --root")
    if not folder.is_local:
        return Finding("storage", "ok", f"{folder.uri} can be reached")
    place = next(one for one in (Path(folder.path), *Path(folder.path).parents) if one.exists())
    free = shutil.disk_usage(place).free / 1e9
    found = f"{folder.path}: {free:.1f} GB free"
    least, enough = DISK_GB
    if not place.is_dir() or not os.access(place, os.W_OK):
        return Finding("storage", "fail", f"{place} can't be written", "give another --root, or set EMOTION_RAY_HOME")
    if free < enough:
        advice = f"free space, or give another --root: RAVDESS takes up to {enough:.0f} GB"
        return Finding("storage", "fail" if free < least else "warn", found, advice)
    return Finding("storage", "ok", found)


def ray() -> Finding:
    """Whether Ray is there, and which one the commands will use. It is not imported."""
    found = _version("ray")
    if found is None:
        return Finding("Ray", "fail", "not installed", "pip install -c constraints.txt -e .")
    if os.environ.get("RAY_ADDRESS"):
        return Finding("Ray", "ok", f"{found}; RAY_ADDRESS is set: commands join that cluster")
    return Finding("Ray", "ok", f"{found}; commands start one here, or join the one that runs here")


def token() -> Finding:
    """Whether others on this machine can read Ray's token, with which they could run anything as this user."""
    path = home_filled_in(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        advice = "unset RAY_AUTH_MODE: who reaches Ray's ports can run anything"
        return Finding("token", "warn", f"RAY_AUTH_MODE is {os.environ['RAY_AUTH_MODE']}", advice)
    if not path.is_file():
        return Finding("token", "ok", "none yet: Ray makes one when it starts")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return Finding("token", "warn", f"{path} can be read by others", f"chmod 600 {path}")
    return Finding("token", "ok", f"{path}, for this user alone")


def ports() -> Finding:
    taken = [f"{port} ({use})" for port, use in PORTS.items() if not _is_free(port)]
    if taken:
        advice = "give `emotion-ray serve` another --port; the dashboard finds one by itself"
        return Finding("ports", "warn", f"taken: {', '.join(taken)}", advice)
    return Finding("ports", "ok", f"free: {', '.join(map(str, PORTS))}")


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def decoders() -> Finding:
    missing = [name for name in DECODERS if not _has_codec(name, "r")]
    if missing:
        worst: Status = "fail" if "fail" in [DECODERS[name] for name in missing] else "warn"
        return Finding("decoders", worst, f"missing: {', '.join(missing)}", "pip install --force-reinstall av")
    return Finding("decoders", "ok", ", ".join(DECODERS))


def encoder() -> Finding:
    if _has_codec("libx264", "w"):
        return Finding("encoder", "ok", "libx264")
    return Finding("encoder", "warn", "no libx264: no annotated videos", "pip install --force-reinstall av")


def _has_codec(name: str, mode: Literal["r", "w"]) -> bool:
    try:
        av.Codec(name, mode)
    except UnknownCodecError:
        return False
    return True


def weights() -> Finding:
    """The face detector's."""
    try:
        places = {weights_path(f"{name}.pt").parent for name in ("pnet", "rnet", "onet")}
    except EmotionRayError as error:
        return Finding("weights", "fail", "the face detector's are missing", str(error))
    return Finding("weights", "ok", f"the face detector's, in {places.pop()}")


def models(root: str) -> Finding:
    try:
        names = model_names(f"{root}/models")
    except EmotionRayError as error:
        return Finding("models", "fail", str(error), "give another --root")
    if not names:
        return Finding("models", "ok", "none trained yet", ways_to_a_model())
    return Finding("models", "ok", ", ".join(names))
