"""One uploaded video, from its bytes to the same with boxes and emotions drawn on it. Runs in a thread."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from emotion_ray.inference.annotated import write_annotated
from emotion_ray.service.prediction import check_length, stream_for
from emotion_ray.service.problems import Problem
from emotion_ray.service.service import Service
from emotion_ray.service.uploads import Upload
from emotion_ray.service.work import Job
from emotion_ray.vision.video import Video

LARGEST_DRAWN = 512 * 10**6  # bytes; noise takes more encoded than it did in the upload


def annotate(service: Service, upload: Upload, job: Job) -> bytes:
    """The annotated video, H.264 in mp4.

    Raises:
        Problem: the request asks for what can't be, the time is up, or too much would come of it.
        Reject: no video that can be used.
    """
    limits = service.settings
    stream = stream_for(service, service.models.get(upload.fields.get("model")), upload.fields.get("stride"))
    with Video(upload.content, upload.name) as video:
        check_length(video, limits.max_video_s)
    with _file_in_memory() as path:

        def may_go_on(*_: object) -> None:
            job.check()
            if path.stat().st_size > LARGEST_DRAWN:
                raise Problem(413, "too_large", f"The annotated video would have more than {LARGEST_DRAWN:,} bytes.")

        analysis = write_annotated(
            upload.content,
            upload.name,
            stream,
            path,
            max_frames=limits.max_frames,
            max_seconds=limits.max_video_s,
            threads=max(1, limits.cpus_per_replica // limits.uploads_at_once),
            progress=may_go_on,
        )
        drawn = path.read_bytes()
    service.metrics.worked(analysis.frames, len(analysis.faces), job.seconds)
    return drawn


@contextmanager
def _file_in_memory() -> Iterator[Path]:
    """A path for what can write to nothing else: it leads to no disk, and is gone with the process at the latest."""
    number = os.memfd_create("annotated")
    try:
        yield Path(f"/proc/self/fd/{number}")
    finally:
        os.close(number)
