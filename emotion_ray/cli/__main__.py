"""`python -m emotion_ray.cli` is `emotion-ray`."""

import sys

from emotion_ray.cli import main

if __name__ == "__main__":
    sys.exit(main())
