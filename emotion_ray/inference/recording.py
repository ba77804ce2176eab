"""An annotated recording from a camera, until it is stopped."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
from rich.console import Console

from emotion_ray.errors import EmotionRayError
from emotion_ray.inference.analysis import Analysis
from emotion_ray.inference.drawing import Annotator
from emotion_ray.inference.files import Outputs, being_written, check_free
from emotion_ray.inference.stream import EmotionStream
from emotion_ray.inference.timeline import TABLES, picture
from emotion_ray.inference.videos import Predicted, stream_for
from emotion_ray.models.store import LoadedModel
from emotion_ray.settings import PredictSettings
from emotion_ray.settings.checks import home_filled_in
from emotion_ray.vision.encode import H264Writer
from emotion_ray.vision.mtcnn import MTCNN

USUAL_FPS = 30.0  # where a camera does not tell its rate


def record_camera(settings: PredictSettings, model: LoadedModel, console: Console) -> Predicted:
    """Records from a camera, annotates, and ends after `settings.seconds` or by Ctrl-C, which keeps the recording.

    The times of the frames are those at which they came.

    Raises:
        EmotionRayError: no such camera, no picture from it, or the files can't be written.
    """
    name = f"camera{settings.camera}"
    outputs = Outputs.named(home_filled_in(settings.out), name, settings.timeline)
    check_free(outputs, set(), settings.force)
    stream = stream_for(settings, MTCNN(), model)
    analysis = Analysis(name, stream.labels)
    with _camera(settings.camera) as camera, being_written(outputs, settings.force) as parts:
        fps = camera.get(cv2.CAP_PROP_FPS)
        analysis.fps = fps if 1 <= fps <= 1000 else USUAL_FPS
        console.print(f"recording from camera {settings.camera}; Ctrl-C ends it")
        with H264Writer(parts.video, analysis.fps) as writer:
            _record(camera, stream, analysis, writer, settings.seconds)
        if not analysis.frames:
            raise EmotionRayError(f"camera {settings.camera} gives no picture: is another program using it?")
        parts.table.write_text(TABLES[settings.timeline](analysis), encoding="utf-8")
        parts.picture.write_bytes(picture(analysis))
    return Predicted(name, outputs, analysis)


def _record(
    camera: cv2.VideoCapture, stream: EmotionStream, analysis: Analysis, writer: H264Writer, seconds: float | None
) -> None:
    """Frame by frame, until there is no more, the time is over or the person ends it."""
    annotator = None
    with _ended_by_ctrl_c() as ended:
        for rgb, time_s in _frames(camera, seconds):
            [observation] = stream.push([rgb], [time_s])
            annotator = annotator or Annotator(*rgb.shape[:2], stream.labels, stream.length)
            writer.add(annotator.draw(rgb, observation), time_s)
            analysis.add(observation)
            analysis.seconds = time_s + 1 / analysis.fps
            if ended.is_set():
                break
    last = stream.finish(analysis.fps)
    if last is not None:
        analysis.add_end(last)


@contextmanager
def _ended_by_ctrl_c() -> Iterator[threading.Event]:
    """Set by the first Ctrl-C, so that a recording ends between two frames and never within one; a second one stops."""
    ended, before = threading.Event(), signal.getsignal(signal.SIGINT)

    def end(*_: object) -> None:
        ended.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, end)
    try:
        yield ended
    finally:
        signal.signal(signal.SIGINT, before)


def _frames(camera: cv2.VideoCapture, seconds: float | None) -> Iterator[tuple[np.ndarray, float]]:
    """Pictures, uint8 [H, W, 3] RGB, and the seconds since the first at which they came."""
    began = None
    while True:
        there, bgr = camera.read()
        now = time.monotonic()
        began = now if began is None else began
        if not there or (seconds is not None and now - began > seconds):
            return
        yield cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), now - began


@contextmanager
def _camera(number: int) -> Iterator[cv2.VideoCapture]:
    # what it says where there is no camera, we say below
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    camera = cv2.VideoCapture(number)
    try:
        if not camera.isOpened():
            raise EmotionRayError(f"camera {number} can't be opened: is it plugged in and free? The first one is 0")
        yield camera
    finally:
        camera.release()
