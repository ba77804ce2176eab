"""What the OpenAPI document tells of forms and answers, with examples."""

from typing import Any

from emotion_ray import __version__
from emotion_ray.service.problems import MEDIA_TYPE, Problem, busy

DESCRIPTION = (
    "Predicts which acted emotion the faces in a video express. Live use: the websocket /v1/stream takes a first "
    'message {"key", "model", "stride"}, then pictures (12 bytes, little-endian: float64 seconds, uint32 answers read '
    "so far; then JPEG or WebP), and answers each with JSON."
)

_PROBABILITIES = {
    "neutral": 0.012,
    "calm": 0.021,
    "happy": 0.874,
    "sad": 0.008,
    "angry": 0.016,
    "fearful": 0.019,
    "disgust": 0.011,
    "surprised": 0.039,
}
_PREDICTION = {"time": 1.969, "label": "happy", "early": False, "frames": 60, "probabilities": _PROBABILITIES}
_MODEL = {
    "name": "attention-20260131",
    "architecture": "attention",
    "labels": list(_PROBABILITIES),
    "frames": 60,
    "created": "2026-01-31T12:00:00Z",
}
_ANSWER = {
    "label": "happy",
    "faces": [
        {
            "track": 1,
            "first_s": 0.0,
            "last_s": 3.237,
            "label": "happy",
            "early": False,
            "probabilities": _PROBABILITIES,
            "timeline": [_PREDICTION],
            "boxes": [[0.0, 512.3, 130.8, 742.0, 431.5], [0.033, 512.6, 130.9, 742.2, 431.4]],
        }
    ],
    "frames": 98,
    "seconds": 3.27,
    "fps": 29.97,
    "warnings": [],
    "model": _MODEL,
    "version": __version__,
    "timings": {"upload_s": 0.013, "wait_s": 0.001, "load_s": 0.002, "work_s": 0.71, "total_s": 0.726},
}
_MODELS = {
    "default": _MODEL["name"],
    "models": [
        _MODEL | {"uar": 0.61, "war": 0.62, "protocol": "actor folds, 5 of them", "data": "RAVDESS", "synthetic": False}
    ],
}

PREDICT: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["video"],
                    "properties": {
                        "video": {
                            "type": "string",
                            "format": "binary",
                            "description": "The video: MP4, MOV, MKV, WebM, AVI or FLV.",
                        },
                        "model": {
                            "type": "string",
                            "description": "A model's name, from /v1/models.",
                            "example": _MODEL["name"],
                        },
                        "stride": {
                            "type": "integer",
                            "minimum": 1,
                            "description": "Frames from one prediction to the next.",
                            "example": 10,
                        },
                        "annotate": {
                            "type": "boolean",
                            "description": "Answer with the annotated video instead of JSON.",
                            "example": False,
                        },
                    },
                }
            }
        },
    }
}


def _problem(description: str, problem: Problem) -> dict[str, Any]:
    return {"description": description, "content": {MEDIA_TYPE: {"example": problem.document()}}}


_WRONG_KEY = _problem("A key is needed, and this is none.", Problem(401, "wrong_key", "Give the API key."))

PREDICT_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The predictions, or the annotated video.",
        "content": {"application/json": {"example": _ANSWER}, "video/mp4": {}},
    },
    401: _WRONG_KEY,
    404: _problem(
        "There is no such model.",
        Problem(404, "unknown_model", f"There is no model of that name; there are: {_MODEL['name']}."),
    ),
    413: _problem("The upload is too large or too long.", Problem(413, "too_long", "take.mp4 lasts longer than 180 s")),
    415: _problem(
        "It is no video that can be read.",
        Problem(415, "not_a_video", "take.mp4 is no video that can be read (Invalid data found)"),
    ),
    422: _problem("The form or the video can't be used.", Problem(422, "empty_file", "The video is empty.")),
    429: _problem(
        "The queue is full; Retry-After says when to come again.",
        busy("9 uploads are being worked on or wait already: send it again in a moment."),
    ),
}
MODELS_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The models.", "content": {"application/json": {"example": _MODELS}}},
    401: _WRONG_KEY,
}
STATUS_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "It is.", "content": {"application/json": {"example": {"status": "ok"}}}},
}
