"""One form of preparing a take, timed on one core: facenet-pytorch, ours, or decoding alone."""

import cProfile
import io
import itertools
import os
import pstats
import time
from pathlib import Path

from emotion_ray.real_clips import real_clips
from emotion_ray.settings import CropSettings

FRAMES = 60
FORMS = ("facenet", "exact", "track", "decode")


def takes_720p() -> list[Path]:
    return [path for name, path in sorted(real_clips().items()) if name.endswith(".mp4")]


def _take_one_core() -> None:
    import torch

    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)


def measure_form(form: str) -> list[float]:
    """Seconds for each of the four takes, on this process's one core, after one that warms it up."""
    _take_one_core()
    run = {"facenet": _facenet, "exact": _ours("exact"), "track": _ours("track"), "decode": _decode}[form]()
    videos = [path.read_bytes() for path in takes_720p()]
    run(videos[0], FRAMES)
    seconds = []
    for video in videos:
        began = time.perf_counter()
        run(video, FRAMES)
        seconds.append(time.perf_counter() - began)
    return seconds


def _facenet():
    """As people do it today: decode, `MTCNN().detect` a frame, cut out the largest face, resize it."""
    import av
    import cv2
    from original_mtcnn import original_mtcnn

    mtcnn = original_mtcnn()

    def run(video: bytes, count: int) -> None:
        with av.open(io.BytesIO(video)) as container:
            for picture in itertools.islice(container.decode(video=0), count):
                frame = picture.to_ndarray(format="rgb24")
                boxes, _ = mtcnn.detect(frame)
                x0, y0, x1, y1 = (int(max(edge, 0)) for edge in boxes[0])
                cv2.resize(frame[y0:y1, x0:x1], (64, 64), interpolation=cv2.INTER_AREA)

    return run


def _ours(detector: str):
    def make():
        from emotion_ray.allocator import keep_freed_memory
        from emotion_ray.data.takes import Take
        from emotion_ray.vision.clipping import make_clip
        from emotion_ray.vision.mtcnn import MTCNN

        keep_freed_memory()
        mtcnn = MTCNN()
        take = Take("take", 1, 0, None, None, None, None, "take.mp4")

        def run(video: bytes, count: int) -> None:
            make_clip(take, video, 0, CropSettings(detector=detector, frames=count), mtcnn)

        return run

    return make


def _decode():
    from emotion_ray.vision.video import Video, sample_times

    def run(content: bytes, count: int) -> None:
        with Video(content, "take.mp4") as video:
            for _ in video.nearest(sample_times(content, "take.mp4", count)):
                pass

    return run


# Where time goes: parts of the profile by the function that spends it, the first that fits.
PARTS = {
    "decoding": ("_pictures", "decode"),
    "conversion to RGB": ("reformat", "to_ndarray"),
    "summed-area tables": ("integral",),
    "look-ups in the tables": ("take", "areas.py"),
    "convolutions": ("conv2d",),
    "pooling": ("max_pool2d",),
    "PReLU and linear layers": ("prelu", "linear"),
    "suppression": ("_nms_by",),
}


def profile_form(form: str) -> dict[str, float]:
    """Milliseconds a frame that each part takes, over the four takes, under Python's profiler (which adds to it)."""
    _take_one_core()
    run = _ours(form)()
    videos = [path.read_bytes() for path in takes_720p()]
    run(videos[0], FRAMES)
    profiler = cProfile.Profile()
    for video in videos:
        profiler.runcall(run, video, FRAMES)
    spent = dict.fromkeys([*PARTS, "the rest"], 0.0)
    for (file, _, function), (_, _, own_s, _, _) in pstats.Stats(profiler).stats.items():
        where = f"{file}:{function}"
        part = next((part for part, names in PARTS.items() if any(name in where for name in names)), "the rest")
        spent[part] += own_s / (len(videos) * FRAMES) * 1e3
    return spent
