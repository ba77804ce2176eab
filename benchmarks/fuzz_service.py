#!/usr/bin/env python
"""Random and mutated uploads: each has to be answered, none by a 5xx, and the service lives on.

python benchmarks/fuzz_service.py --uploads 2000
"""

import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import tyro
from asked import line

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from counted_video import CODECS, counted_video
from portrait_video import portrait_video, sound_only
from served import client, store_model, upload


def main(uploads: int = 2000, seed: int = 0) -> int:
    """Uploads damaged videos; of a quarter, annotated videos are asked for.

    Args:
        uploads: how many.
        seed: of what is done to them.
    """
    draw = np.random.default_rng(seed)
    whole = [portrait_video(frames=5), sound_only(), *(counted_video(kind, 5) for kind in CODECS)]
    statuses: Counter[int] = Counter()
    with tempfile.TemporaryDirectory() as root:
        store_model(Path(root), "tiny")
        with client(Path(root), max_video_s=20.0, max_frames=400) as service:
            for _ in range(uploads):
                annotate = str(draw.random() < 0.25).lower()
                statuses[upload(service, damaged(draw, whole), annotate=annotate).status_code] += 1
            lives = upload(service, portrait_video(frames=5)).status_code == 200
    told = ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))
    met = lives and all(status < 500 for status in statuses)
    line(met, f"{uploads} random and mutated uploads", "no 5xx, and the service lives on", told)
    return 0 if met else 1


def damaged(draw: np.random.Generator, whole: list[bytes]) -> bytes:
    """Noise, or a video with bytes changed, a part cut out, put twice or moved, or its end missing."""
    if draw.random() < 0.1:
        return draw.bytes(int(draw.integers(0, 20_000)))
    content = bytearray(whole[int(draw.integers(len(whole)))])
    for _ in range(int(draw.integers(1, 6))):
        at = int(draw.integers(len(content) + 1))
        length = int(draw.integers(1, 200))
        kind = int(draw.integers(5))
        if kind == 0:
            content[at : at + length] = draw.bytes(length)
        elif kind == 1:
            del content[at : at + length]
        elif kind == 2:
            content[at:at] = content[at : at + length]
        elif kind == 3 and len(content) > 8:
            spot = int(draw.integers(len(content) - 4))
            content[spot : spot + 4] = draw.choice([b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff\xff\xff"])
        else:
            del content[len(content) - length :]
    return bytes(content)


if __name__ == "__main__":
    sys.exit(tyro.cli(main, description=__doc__))
