"""A folder of small clips of noise, as prepare leaves one, for jobs that read their clips themselves."""

from pathlib import Path

import numpy as np
from random_clips import random_clips

from emotion_ray.data.clips import Clip, Clips, write_shards
from emotion_ray.data.storage import Folder


def write_small_clips(
    folder: Path | str, count: int = 96, frames: int = 4, size: int = 16, learnable: bool = False
) -> Clips:
    """Writes clips of four actors into a folder and gives them; learnable ones are as bright as their emotion says."""
    clips = random_clips(count, frames, size)
    if learnable:
        brightness = (clips.emotion * 24)[:, None, None, None, None].astype(np.uint8)
        clips.frames[:] = clips.frames // 4 + brightness
    write_shards(Folder.at(folder), [_clip(clips, place) for place in range(count)])
    return clips


def _clip(clips: Clips, place: int) -> Clip:
    frames = clips.frames.shape[1]
    return Clip(
        clip_id=clips.clip_id[place],
        actor=int(clips.actor[place]),
        emotion=int(clips.emotion[place]),
        intensity=None,
        statement=None,
        repetition=None,
        modality=None,
        frames=clips.frames[place],
        num_frames=int(clips.num_frames[place]),
        found=clips.found[place],
        boxes=np.zeros((frames, 4), np.float32),
        probs=np.ones(frames, np.float32),
        times=np.arange(frames, dtype=np.float32) / 30,
        fps=30.0,
        source="noise",
        source_crc32=0,
        prepared_with="noise",
    )
