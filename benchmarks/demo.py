#!/usr/bin/env python
"""The whole job on the synthetic sample by one command: how long it takes, and whether all is there that it names.

python benchmarks/demo.py
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from asked import MISS, line

MOST_S, MOST_AGAIN_S = 8 * 60, 60


def main() -> int:
    with tempfile.TemporaryDirectory() as root:
        took, made = demo(root)
        missing = [what for what, path in made.items() if not Path(path).exists()]
        again, _ = demo(root)
    lines = [
        line(bool(made) and not missing, "demo: what it names is there", f"all {len(made)}", f"without {missing}"),
        line(took <= MOST_S, "demo: from nothing, installation left out", f"at most {MOST_S} s", f"{took:.0f} s"),
        line(again <= MOST_AGAIN_S, "demo: a second run", f"at most {MOST_AGAIN_S} s", f"{again:.1f} s"),
    ]
    return 1 if any(text.startswith(MISS) for text in lines) else 0


def demo(root: str) -> tuple[float, dict[str, str]]:
    """Seconds that the demo takes under a root, and the paths that it names, by what they are."""
    began = time.monotonic()
    command = [sys.executable, "-m", "emotion_ray.cli", "demo", "--root", root, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    made = json.loads(done.stdout)["made"] if done.returncode == 0 else {}
    return time.monotonic() - began, made


if __name__ == "__main__":
    sys.exit(main())
