"""The rules of the house: who may import whom, how long a file may be, what may happen at import time."""

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "emotion_ray"
MODULES = sorted(PACKAGE.rglob("*.py"))
JOBS = sorted((ROOT / "jobs").glob("*.py"))
FREE = ("errors", "settings", "allocator")
"""May be imported by all."""
ORDER = ("data", "vision", "sample", "models", "learning", "inference", "service", "distributed", "walkthrough", "cli")
"""Each may import from those to its left."""
BESIDE = {"real_clips": "sample", "doctor": "cli"}
"""Stand with another."""
MOST_LINES = 350
MOST_LINES_OF_A_JOB = 40


def place(module: str) -> int:
    """Where a module of ours, such as `emotion_ray.data.clips`, stands from left to right."""
    part = [*module.split("."), ""][1]
    if part in ("", *FREE):
        return -1
    return ORDER.index(BESIDE.get(part, part))


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> list[tuple[str, ast.stmt]]:
    """Every module that a file imports, anywhere in it, as far as a module is named in a `from … import`."""
    found = []
    package = name_of(path) if path.name == "__init__.py" else name_of(path).rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, node) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            found.append((module, node))
            if module == "emotion_ray":
                parts = [alias.name for alias in node.names if alias.name in (*FREE, *ORDER, *BESIDE)]
                found += [(f"{module}.{part}", node) for part in parts]
    return found


def of_ray(module: str) -> bool:
    return module.split(".")[0] == "ray"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_to_the_left(path):
    own = place(name_of(path))
    for module, node in imports(path):
        if module.split(".")[0] == "emotion_ray":
            assert place(module) <= own, f"{path}:{node.lineno} imports {module}, which stands to its right"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_ray_is_imported_under_distributed_alone(path):
    if path.is_relative_to(PACKAGE / "distributed"):
        return
    for module, node in imports(path):
        assert not of_ray(module), f"{path}:{node.lineno} imports {module}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_file_can_be_read_in_one_sitting(path):
    assert len(path.read_text().splitlines()) <= MOST_LINES


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_file_is_named_for_nothing(path):
    assert path.stem not in ("utils", "helpers", "common", "base", "misc")


@pytest.mark.slow
def test_nothing_happens_at_import_time(tmp_path):
    """Of all that needs no Ray, the command line among it: no Ray, no folders, no output, no threads."""
    names = [name_of(path) for path in MODULES if place(name_of(path)) < ORDER.index("distributed")]
    names.append("emotion_ray.cli")
    script = (
        "import importlib, logging, socket, sys, threading\n"
        "def refused(*arguments, **more): raise AssertionError('network at import time')\n"
        "socket.socket.connect = refused\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "assert 'ray' not in sys.modules, 'ray was imported'\n"
        "assert not logging.getLogger().handlers and not logging.getLogger('emotion_ray').handlers\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
    )
    settings = {**os.environ, "HOME": str(tmp_path / "home"), "EMOTION_RAY_HOME": str(tmp_path / "root")}
    settings |= {"MPLCONFIGDIR": str(tmp_path / "matplotlib"), "PYTHONDONTWRITEBYTECODE": "1"}
    work = tmp_path / "work"
    work.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, cwd=work, env=settings
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == done.stderr == ""
    assert not (tmp_path / "home").exists()
    assert not (tmp_path / "root").exists()
    assert not list(work.iterdir())


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.name)
def test_a_job_is_a_thin_door_that_can_be_executed(path):
    lines = path.read_text().splitlines()
    assert lines[0].startswith("#!/usr/bin/env python")
    assert len(lines) <= MOST_LINES_OF_A_JOB
    assert os.access(path, os.X_OK)


def test_there_are_jobs_and_modules():
    assert {"prepare.py"} <= {path.name for path in JOBS}
    assert len(MODULES) > 20
