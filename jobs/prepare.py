#!/usr/bin/env python3
"""Prepare clips as a Ray job: `ray job submit --working-dir . -- jobs/prepare.py --actors 1-10`."""

import sys

from emotion_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["prepare", *sys.argv[1:]]))
