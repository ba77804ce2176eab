"""One uploaded video, from its bytes to the answer. Runs in a thread."""

import time
from typing import Any

from pydantic_core import to_json

from emotion_ray import __version__
from emotion_ray.errors import Reject
from emotion_ray.inference.analysis import Analysis, analyse_video
from emotion_ray.inference.observation import Observation, Prediction
from emotion_ray.inference.stream import EmotionStream
from emotion_ray.models.store import LoadedModel
from emotion_ray.service.problems import Problem
from emotion_ray.service.service import Service
from emotion_ray.service.uploads import Upload
from emotion_ray.service.work import Job
from emotion_ray.vision.video import Video

LARGEST_STRIDE = 10_000


def predict(service: Service, upload: Upload, job: Job) -> dict[str, Any]:
    """What the engine says of a video: plain values for JSON.

    Raises:
        Problem: the request asks for what can't be, or the time is up.
        Reject: no video that can be used.
    """
    model = service.models.get(upload.fields.get("model"))
    stream = stream_for(service, model, upload.fields.get("stride"))
    limits = service.settings
    loaded_s = job.seconds
    analysis = Analysis(upload.name, model.record.labels)
    boxes: dict[int, list[list[float]]] = {}
    with Video(upload.content, upload.name) as video:
        check_length(video, limits.max_video_s)
        for _, observation in analyse_video(video, stream, analysis, limits.max_frames, limits.max_video_s):
            job.check()
            _note_boxes(boxes, observation)
    work_s = job.seconds - loaded_s
    service.metrics.worked(analysis.frames, len(analysis.faces), work_s)
    told = analysis.as_dict()
    for face in told["faces"]:
        summary = analysis.faces[face["track"]]
        face["timeline"] = [told_prediction(one) for one in summary.timeline]
        face["boxes"] = boxes[face["track"]]
    return {
        "label": _overall_label(told["faces"]),
        **told,
        "model": {
            "name": model.name,
            "architecture": model.record.architecture,
            "labels": list(model.record.labels),
            "frames": model.record.frames,
            "created": model.record.created,
        },
        "version": __version__,
        "timings": {
            "upload_s": round(upload.seconds, 4),
            "wait_s": round(job.began - upload.ended, 4),
            "load_s": round(loaded_s, 4),
            "work_s": round(work_s, 4),
            "total_s": round(upload.seconds + time.monotonic() - upload.ended, 4),
        },
    }


def as_json(value: object, levels: int = 4) -> bytes:
    """JSON of an answer, which may have tens of megabytes.

    Written by one call it would keep Python's lock, and with it the event loop, for seconds; so each call writes what
    is so many levels down: a prediction, a box.
    """
    if levels and isinstance(value, dict):
        return b"{" + b",".join(to_json(name) + b":" + as_json(one, levels - 1) for name, one in value.items()) + b"}"
    if levels and isinstance(value, list):
        return b"[" + b",".join(as_json(one, levels - 1) for one in value) + b"]"
    return to_json(value)


def stream_for(service: Service, model: LoadedModel, stride: object) -> EmotionStream:
    """A fresh engine; `stride` as a request gives it: a number, its digits, or None for the default.

    Raises:
        Problem: 422, no such stride.
    """
    try:
        frames = service.settings.stride if stride is None else int(str(stride))
        if not 1 <= frames <= LARGEST_STRIDE:
            raise ValueError(stride)
    except ValueError:
        raise Problem(422, "bad_stride", f"stride has to be a whole number from 1 to {LARGEST_STRIDE:,}.") from None
    return EmotionStream(service.mtcnn, model, frames, max_faces=service.settings.max_faces)


def told_prediction(prediction: Prediction) -> dict[str, Any]:
    """Plain values for JSON; `attention` for the attention model alone."""
    labelled = zip(prediction.labels, prediction.probabilities.tolist(), strict=True)
    told = {
        "time": round(prediction.time, 3),
        "label": prediction.label,
        "early": prediction.early,
        "frames": prediction.frames,
        "probabilities": {label: round(probability, 6) for label, probability in labelled},
    }
    if prediction.attention is not None:
        told["attention"] = [round(weight, 5) for weight in prediction.attention.tolist()]
    return told


def check_length(video: Video, max_video_s: float) -> None:
    """Refuses a video that says itself that it is too long, before any of it is decoded.

    Raises:
        Reject: stage "decode", reason "too_long".
    """
    if video.declared_s is not None and video.declared_s > max_video_s + 1:  # sound may go on for a moment
        raise Reject("decode", "too_long", f"{video.name} lasts longer than {max_video_s:g} s: the limit")


def _note_boxes(boxes: dict[int, list[list[float]]], observation: Observation) -> None:
    """Adds each face's time in seconds and box in px."""
    for face in observation.faces:
        place = [round(observation.time, 3), *(round(float(edge), 1) for edge in face.box)]
        boxes.setdefault(face.track, []).append(place)


def _overall_label(faces: list[dict[str, Any]]) -> str | None:
    """The label of the face that was seen for the longest time."""
    told = [face for face in faces if face["label"] is not None]
    longest = max(told, key=lambda face: face["last_s"] - face["first_s"], default=None)
    return None if longest is None else longest["label"]
