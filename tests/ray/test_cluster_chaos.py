"""One round of one of the cases that `make prove` repeats, in a process and on a cluster of its own."""

import os
import subprocess
import sys
from pathlib import Path

import chaos_cluster
import pytest
from asked import OK

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]

CASES = ("prepare-node",)


def test_a_node_that_is_removed_costs_no_clip():
    script = Path(chaos_cluster.__file__)
    done = subprocess.run(
        [sys.executable, script, "--rounds", "1", "--only", *CASES],
        capture_output=True,
        text=True,
        timeout=280,
        env={name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        check=False,
    )
    lines = [text for text in done.stdout.splitlines() if ": asked " in text]
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(lines) == 1 + len(CASES)
    assert all(text.startswith(OK) for text in lines)
