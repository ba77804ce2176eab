"""What a benchmark's page says of the machine and the program it was measured with."""

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import torch


def facts() -> dict[str, str]:
    """`commit` (-dirty where files but results differ from it), `date` (ISO 8601, UTC), `hardware` and `software`."""
    return {
        "commit": _commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": ", ".join([_processor(), f"{os.cpu_count()} cores", *_gpus()]),
        "software": f"Python {platform.python_version()}, PyTorch {torch.__version__}",
    }


def made_by(command: str, about: dict[str, str], page: str = "") -> str:
    """The sentence on a page that says how it came about.

    Args:
        command: the script with its flags.
        about: what `facts` gave.
        page: name of the page under results/benchmarks/ and of the figures beside it, where there is one.
    """
    if page:
        command += f" --page results/benchmarks/{page}.md --json results/benchmarks/{page}.json"
    where = f"at commit {about['commit']}, {about['date']}, on {about['hardware']}; {about['software']}"
    return f"Made by `python benchmarks/{command}` {where}."


def _commit() -> str:
    """Of the repository; where this is a copy without its history, what $COMMIT says."""
    try:
        commit = _git("rev-parse", "--short=12", "HEAD")
        return commit + "-dirty" * bool(_git("status", "--porcelain", "--", ".", ":!results"))
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("COMMIT", "unknown")


def _git(*command: str) -> str:
    root = str(Path(__file__).parents[1])
    return subprocess.run(["git", "-C", root, *command], capture_output=True, text=True, check=True).stdout.strip()


def _gpus() -> list[str]:
    return [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]


def _processor() -> str:
    """The processor's name and its widest vector instructions."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    name = re.search(r"model name\s*:\s*(.+)", text)
    vectors = next((kind for kind in ("avx512f", "avx2") if re.search(rf"\b{kind}\b", text)), "no avx2")
    return f"{name[1] if name else platform.machine()} ({vectors})"
