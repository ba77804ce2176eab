#!/usr/bin/env python3
"""Evaluate models as a Ray job: `ray job submit --working-dir . -- jobs/evaluate.py --seeds 3`."""

import sys

from emotion_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
