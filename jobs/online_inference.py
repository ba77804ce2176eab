#!/usr/bin/env python3
"""Annotate a video with emotions: `jobs/online_inference.py --video V --model_type lstm --model_path P`.

All other flags are those of `emotion-ray predict`.
"""

import argparse
import os
import sys

from emotion_ray.cli import main


def arguments() -> list[str]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--video", required=True, help="video, or folder of videos")
    parser.add_argument("--model_type", required=True, choices=("lstm", "attention"), help="what --model_path holds")
    parser.add_argument("--model_path", required=True, help=".pth file, or a model's folder")
    known, others = parser.parse_known_args()
    path = os.path.abspath(os.path.expanduser(known.model_path))  # noqa: PTH100, PTH111 - no one's home is no traceback
    model = ["--model", path, "--architecture", known.model_type]
    return ["predict", known.video, *model, *others]


if __name__ == "__main__":
    sys.exit(main(arguments()))
