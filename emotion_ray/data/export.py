"""Clips as image files, for tools that want those."""

from pathlib import Path

import cv2

from emotion_ray.data.clips import shard_batches, shard_names
from emotion_ray.data.storage import Folder
from emotion_ray.data.takes import CLIP_ID
from emotion_ray.errors import EmotionRayError


def export_png(folder: Folder, target: str | Path) -> int:
    """Writes every real frame of every clip as `Actor_XX/<clip_id>/NNN.png`, NNN from 000; padding is left out.

    Returns:
        the number of clips.

    Raises:
        EmotionRayError: no clips, an unreadable shard, or the target can't be written.
    """
    columns = ["clip_id", "actor", "num_frames", "frames"]
    count = 0
    for name in shard_names(folder):
        for batch in shard_batches(folder, name, columns):
            frames = batch["frames"].to_numpy_ndarray()
            facts = batch.select(columns[:3]).to_pylist()
            for clip, clip_frames in zip(facts, frames, strict=True):
                if not CLIP_ID.fullmatch(clip["clip_id"]):  # it could lead out of the target
                    raise EmotionRayError(f"{folder.uri}/{name}: {clip['clip_id']!r:.80} is no clip's name: remove it")
                place = Path(target) / f"Actor_{clip['actor']:02d}" / clip["clip_id"]
                try:
                    place.mkdir(parents=True, exist_ok=True)
                    for index, frame in enumerate(clip_frames[: clip["num_frames"]]):
                        _, encoded = cv2.imencode(".png", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
                        (place / f"{index:03d}.png").write_bytes(encoded.tobytes())
                except OSError as error:
                    raise EmotionRayError(f"can't write {place} ({error.strerror}): give another folder") from None
                count += 1
    if not count:
        raise EmotionRayError(f"no clips in {folder.uri}: run `emotion-ray prepare` first")
    return count
