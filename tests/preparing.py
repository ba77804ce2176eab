"""The job of preparing as its tests call it, and what it came to."""

from pathlib import Path

import pyarrow.parquet as pq
from rich.console import Console

from emotion_ray.data.clips import shard_names
from emotion_ray.data.storage import Folder
from emotion_ray.settings import PrepareSettings

FRAMES = 8


def prepare(root: Path, start_anew: bool = False, **settings: object):
    from emotion_ray.distributed.prepare import prepare

    given = {"frames": FRAMES, "root": str(root), **settings}
    return prepare(PrepareSettings(**given), Console(quiet=True), start_anew)


def clips_by_id(folder: Folder) -> dict[str, dict]:
    """Every column of every clip, as plain pyarrow reads it; a clip that is there twice is a failure."""
    clips: dict[str, dict] = {}
    for name in shard_names(folder):
        table = pq.read_table(f"{folder.path}/{name}")
        for row in table.to_pylist():
            assert row["clip_id"] not in clips
            clips[row["clip_id"]] = row
    return clips


def reasons(done) -> dict[str, str]:
    """Reason by the last part of the source."""
    return {reject.source.split("/")[-1]: reject.reason for reject in done.rejects}
