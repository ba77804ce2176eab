#!/usr/bin/env python3
"""Tune a model as a Ray job: `ray job submit --working-dir . -- jobs/tune.py --model attention`."""

import sys

from emotion_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["tune", *sys.argv[1:]]))
