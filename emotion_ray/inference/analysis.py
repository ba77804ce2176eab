"""A whole video, from its bytes: what the engine says of each frame, and what it all comes to."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from emotion_ray.errors import Reject
from emotion_ray.inference.observation import Observation, Prediction, newest
from emotion_ray.inference.stream import EmotionStream
from emotion_ray.vision.video import Frame, Video

# The networks are faster on several frames: these are decoded and pushed together.
MOST_AT_ONCE = 12  # twice what a follower takes of 720p, and a part of the 30 between two looks for new faces
BYTES_AT_ONCE = 48 * 2**20  # 17 frames of 720p


@dataclass(eq=False)
class TrackSummary:
    """One face: when it was followed, in seconds, and all that was said of it."""

    track: int
    first_s: float
    last_s: float
    timeline: list[Prediction] = field(default_factory=list)

    @property
    def probabilities(self) -> np.ndarray | None:
        """float32 [C]: the mean over full windows; without one, over the early estimates; None without any."""
        full = [one.probabilities for one in self.timeline if not one.early]
        told = full or [one.probabilities for one in self.timeline]
        return np.mean(told, axis=0) if told else None


class Analysis:
    """What is collected of one video.

    Attributes:
        name: of the video, in messages.
        labels: of the model's C classes.
        faces: by track number.
        frames: that were decoded.
        seconds: that they last.
        fps: frames a second that the file declares.
        warnings: a line each.
    """

    def __init__(self, name: str, labels: tuple[str, ...]):
        self.name = name
        self.labels = labels
        self.faces: dict[int, TrackSummary] = {}
        self.frames = 0
        self.seconds = 0.0
        self.fps = 0.0
        self.warnings: list[str] = []

    def add(self, observation: Observation) -> None:
        """What is known after the next frame."""
        self.frames += 1
        self.add_end(observation)

    def add_end(self, observation: Observation) -> None:
        """What is known at the end, with no further frame."""
        for face in observation.faces:
            summary = self.faces.get(face.track)
            if summary is None:
                summary = self.faces[face.track] = TrackSummary(face.track, observation.time, observation.time)
            if face.found:
                summary.last_s = observation.time
            if face.prediction is not None and summary.timeline[-1:] != [face.prediction]:
                summary.timeline.append(face.prediction)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; probabilities by label, null for a face of which nothing could be said."""
        return {
            "faces": [self._face(summary) for summary in self.faces.values()],
            "frames": self.frames,
            "seconds": round(self.seconds, 3),
            "fps": round(self.fps, 3),
            "warnings": self.warnings,
        }

    def _face(self, summary: TrackSummary) -> dict[str, Any]:
        overall = summary.probabilities
        return {
            "track": summary.track,
            "first_s": round(summary.first_s, 3),
            "last_s": round(summary.last_s, 3),
            "label": None if overall is None else self.labels[int(overall.argmax())],
            "early": all(one.early for one in summary.timeline),
            "probabilities": None if overall is None else self.by_label(overall),
            "timeline": [
                {
                    "time": round(one.time, 3),
                    "label": one.label,
                    "early": one.early,
                    "probabilities": self.by_label(one.probabilities),
                }
                for one in summary.timeline
            ],
        }

    def by_label(self, probabilities: np.ndarray) -> dict[str, float]:
        return {label: round(float(p), 6) for label, p in zip(self.labels, probabilities, strict=True)}


def analyse(
    content: bytes,
    name: str,
    stream: EmotionStream,
    analysis: Analysis | None = None,
    max_frames: int | None = None,
    max_seconds: float | None = None,
) -> Iterator[tuple[Frame, Observation]]:
    """Decodes a video and gives each frame with what is known after it; the last one with what is known at the end.

    Args:
        content: the encoded video.
        name: what to call it in messages.
        stream: a fresh one.
        analysis: collects what comes.
        max_frames, max_seconds: a longer video is refused as soon as it is seen to be longer.

    Raises:
        Reject: stage "decode", as `Video`; reason "too_long".
    """
    with Video(content, name) as video:
        yield from analyse_video(video, stream, analysis, max_frames, max_seconds)


def analyse_video(
    video: Video,
    stream: EmotionStream,
    analysis: Analysis | None = None,
    max_frames: int | None = None,
    max_seconds: float | None = None,
) -> Iterator[tuple[Frame, Observation]]:
    """The same for a video that is open."""
    analysis = Analysis(video.name, stream.labels) if analysis is None else analysis
    analysis.fps = video.fps
    held: list[tuple[Frame, Observation]] = []
    frames = _limited(video, max_frames, max_seconds)
    together = 1
    while chunk := list(islice(frames, together)):
        together = min(max(BYTES_AT_ONCE // chunk[0].rgb.nbytes, 1), MOST_AT_ONCE)
        observations = stream.push([frame.rgb for frame in chunk], [frame.time for frame in chunk])
        *ready, last = [*held, *zip(chunk, observations, strict=True)]
        for frame, observation in ready:
            analysis.add(observation)
            yield frame, observation
        held = [last]
    for frame, known in held:
        at_end = stream.finish(video.fps)
        analysis.add(known)
        analysis.add_end(at_end)
        analysis.seconds = frame.time + 1 / video.fps
        if video.cut_short:
            analysis.warnings.append(
                f"{video.name} is damaged or cut off after {analysis.frames} frames ({video.cut_short}): "
                "this is of those alone"
            )
        if not analysis.faces:
            analysis.warnings.append(f"no face was found in {video.name}")
        yield frame, Observation(at_end.time, newest([known.faces, at_end.faces]))


def _limited(video: Video, max_frames: int | None, max_seconds: float | None) -> Iterator[Frame]:
    for index, frame in enumerate(video.frames()):
        if max_frames is not None and index >= max_frames:
            raise Reject("decode", "too_long", f"{video.name} has more than {max_frames:,} frames: the limit")
        if max_seconds is not None and frame.time > max_seconds:
            raise Reject("decode", "too_long", f"{video.name} lasts longer than {max_seconds:g} s: the limit")
        yield frame
