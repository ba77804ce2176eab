"""An archive at a record of the test's own, and quick settings for its download."""

import hashlib
import random

from emotion_ray.data.download import DownloadSettings

NAME = "Video_Speech_Actor_01.zip"
CONTENT = random.Random(1).randbytes(300_000)
MD5 = hashlib.md5(CONTENT).hexdigest()
QUICK = DownloadSettings(
    tries=4,
    step_bytes=1000,
    backoff_s=0.01,
    timeout_s=5,
    slowest_bytes_per_s=100,
    give_up_after_s=20,
    spare_bytes=0,
)
