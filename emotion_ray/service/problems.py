"""Errors as problem documents (RFC 9457): what is wrong, in words, and never a traceback."""

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from emotion_ray.errors import EmotionRayError, Reject
from emotion_ray.service.headers import RESULT

MEDIA_TYPE = "application/problem+json"
log = logging.getLogger(__name__)

_STATUS_OF_REJECT = {
    "too_many_pixels": 413,
    "too_long": 413,
    "not_a_video": 415,
    "unknown_codec": 415,
}
_STATUS_OF_OTHER_REJECTS = 422


class Problem(Exception):
    """A request can't be answered as it was meant.

    Args:
        status: the HTTP status.
        reason: a short snake_case slug to tell problems apart by.
        detail: one or two sentences for the person: what is wrong, and what to do.
        headers: sent with the answer.
    """

    def __init__(self, status: int, reason: str, detail: str, headers: dict[str, str] | None = None):
        super().__init__(status, reason, detail)
        self.status, self.reason, self.detail, self.headers = status, reason, detail, headers or {}

    def document(self) -> dict[str, Any]:
        """The members of the problem document."""
        return {
            "type": f"urn:emotion-ray:problem:{self.reason}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "reason": self.reason,
            "detail": self.detail,
        }

    def response(self) -> JSONResponse:
        """Says by itself what `Headers` adds to other answers: some problems are told where no middleware sees them."""
        return JSONResponse(self.document(), self.status, RESULT | self.headers, MEDIA_TYPE)


def busy(detail: str, status: int = 429) -> Problem:
    """A problem that is gone soon: the same request may come again after a second."""
    return Problem(status, "busy" if status == 429 else "unavailable", detail, {"Retry-After": "1"})


def problem_of(error: Exception) -> Problem:
    """What to tell of any error; one that is not for the person's eyes is logged, and told as an internal one."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, Reject):
        return Problem(_STATUS_OF_REJECT.get(error.reason, _STATUS_OF_OTHER_REJECTS), error.reason, error.message)
    if isinstance(error, HTTPException):
        phrase = HTTPStatus(error.status_code).phrase
        reason = phrase.lower().replace(" ", "_")
        return Problem(error.status_code, reason, str(error.detail or phrase), dict(error.headers or {}))
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return Problem(422, "invalid_request", f"{where}: {first['msg']}")
    if isinstance(error, EmotionRayError):
        # its message may name folders of this machine: they are for who runs the service, not for who uses it
        log.error("%s", error)
        return Problem(500, "internal_error", "The service can't do this now; its log says why.")
    log.error("unexpected error", exc_info=error)
    return Problem(500, "internal_error", "Something went wrong inside the service; its log says what.")


def answer_with_problems(app: FastAPI) -> None:
    """Has every error of an app answered by a problem document."""

    async def answer(request: Request, error: Exception) -> JSONResponse:
        return problem_of(error).response()

    for kind in (Problem, Reject, EmotionRayError, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, answer)
