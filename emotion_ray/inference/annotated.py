"""A video once more, with its faces and what they express drawn on it."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from emotion_ray.inference.analysis import Analysis, analyse_video
from emotion_ray.inference.drawing import Annotator
from emotion_ray.inference.stream import EmotionStream
from emotion_ray.vision.encode import H264Writer
from emotion_ray.vision.sound import Sound
from emotion_ray.vision.video import Video


def write_annotated(
    content: bytes,
    name: str,
    stream: EmotionStream,
    path: Path,
    *,
    max_frames: int | None = None,
    max_seconds: float | None = None,
    threads: int = 0,
    progress: Callable[[float, float | None], None] | None = None,
) -> Analysis:
    """Analyses a video and writes it with annotations: H.264 in mp4, upright, with its rate, size and sound.

    Args:
        content: the encoded video.
        name: what to call it in messages.
        stream: a fresh one.
        path: of the mp4; a file that is there is replaced, and one that could not be ended is left to the caller.
        max_frames, max_seconds: a longer video is refused.
        threads: that the encoder may use; 0: one a CPU.
        progress: told after each frame how many seconds are done, and of how many (None: not known).

    Raises:
        Reject: stage "decode", as `analyse`.
        EmotionRayError: the file can't be written.
    """
    analysis = Analysis(name, stream.labels)
    with ExitStack() as stack:
        video = stack.enter_context(Video(content, name))
        writer = None
        for frame, observation in analyse_video(video, stream, analysis, max_frames, max_seconds):
            if writer is None:
                annotator = Annotator(*frame.rgb.shape[:2], stream.labels, stream.length)
                sound = stack.enter_context(Sound(content, video.start_s, max_seconds or float("inf")))
                writer = stack.enter_context(H264Writer(path, video.fps, video.colorspace, sound, threads))
            writer.add(annotator.draw(frame.rgb, observation), frame.time)
            if progress is not None:
                progress(frame.time, video.declared_s)
    if sound.is_damaged:
        analysis.warnings.append(f"the sound of {name} is damaged")
    return analysis
