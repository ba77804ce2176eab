#!/usr/bin/env python3
"""Train a model as a Ray job: `ray job submit --working-dir . -- jobs/train.py --model lstm --workers 4`."""

import sys

from emotion_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
