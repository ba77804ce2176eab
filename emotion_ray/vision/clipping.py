"""From the bytes of a take to its clip: the whole path that a frame takes before a model sees it."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice

import av
import numpy as np
import torch

from emotion_ray.data.clips import SCHEMA_VERSION, Clip
from emotion_ray.data.takes import Take
from emotion_ray.errors import Reject
from emotion_ray.settings import CropSettings
from emotion_ray.vision.faces import FaceFollower
from emotion_ray.vision.mtcnn import MTCNN
from emotion_ray.vision.video import Video, sample_times

PIPELINE_VERSION = 2  # raise it with any change of the code that changes a box or a pixel


def fingerprint(settings: CropSettings) -> str:
    """What `Clip.prepared_with` holds: 12 hex digits for every setting and version that changes pixels."""
    facts = {
        "settings": asdict(settings),
        "schema": SCHEMA_VERSION,
        "pipeline": PIPELINE_VERSION,
        "av": av.__version__,
        "torch": torch.__version__.split("+")[0],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def make_clip(take: Take, content: bytes, crc32: int, settings: CropSettings, mtcnn: MTCNN) -> Clip:
    """Decodes a take and crops its face in each frame; a short one is padded with zeros.

    Args:
        content: the encoded video; crc32: its CRC-32.

    Raises:
        Reject: stage "decode" as `Video`; stage "detect", reason "no_face", where more than half of the frames
            show no face.
    """
    wanted = sample_times(content, take.name, settings.frames, settings.sampling)
    times: list[float] = []
    with Video(content, take.name) as video:

        def pictures() -> Iterator[np.ndarray]:
            for frame in video.nearest(wanted):
                times.append(frame.time)
                yield frame.rgb

        def again(count: int) -> Iterator[np.ndarray]:
            """Decoding is cheaper than holding what may be a clip's worth of frames."""
            with Video(content, take.name) as once_more:
                yield from (frame.rgb for frame in islice(once_more.nearest(wanted), count))

        crops = list(FaceFollower(mtcnn, settings.detector, settings.size).crops(pictures(), again))
    seen = sum(crop.found for crop in crops)
    if seen * 2 < len(times):
        message = f"{take.name}: a face in {seen} of {len(times)} frames, fewer than half"
        raise Reject("detect", "no_face", message)

    def padded(values: list, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        array = np.zeros((settings.frames, *shape), dtype)
        array[: len(values)] = values
        return array

    return Clip(
        clip_id=take.clip_id,
        actor=take.actor,
        emotion=take.emotion,
        intensity=take.intensity,
        statement=take.statement,
        repetition=take.repetition,
        modality=take.modality,
        frames=padded([crop.pixels for crop in crops], (settings.size, settings.size, 3), np.uint8),
        num_frames=len(crops),
        found=padded([crop.found for crop in crops], (), np.uint8),
        boxes=padded([crop.box for crop in crops], (4,), np.float32),
        probs=padded([crop.prob for crop in crops], (), np.float32),
        times=padded(times, (), np.float32),
        fps=video.fps,
        source=take.source,
        source_crc32=crc32,
        prepared_with=fingerprint(settings),
    )
