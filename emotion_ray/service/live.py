"""A live session: pictures in over a websocket, what is known of the faces out, and never a queue that grows.

The first message is JSON: `{"key": …, "model": …, "stride": …}`, each of them optional. Each message after that is
a picture: 12 bytes of header, little-endian, float64 seconds and uint32 answers read so far, then JPEG or WebP.
`{"end": true}` as text ends the session with a last answer. Each picture that is looked at gets one answer; those
that come while the service is busy are dropped but for the newest few, and the next answer says how many.
"""

import asyncio
import contextlib
import json
import logging
import math
import struct
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from fastapi import WebSocket
from starlette.websockets import WebSocketDisconnect, WebSocketState

from emotion_ray.data.storage import cause_of
from emotion_ray.errors import EmotionRayError
from emotion_ray.inference.stream import EmotionStream, FaceObservation, Observation
from emotion_ray.service.images import decode_picture
from emotion_ray.service.prediction import stream_for, told_prediction
from emotion_ray.service.problems import Problem, problem_of
from emotion_ray.service.service import Service
from emotion_ray.service.work import Job

log = logging.getLogger(__name__)

HEADER = struct.Struct("<dI")  # seconds, answers read so far
NEWEST_KEPT = 4  # pictures that wait to be looked at
MOST_UNREAD = 64  # answers on their way: a client that does not read them gets no more
LONGEST_HELLO = 4096  # characters
HELLO_LIMIT_S = 5.0  # to the first message: no key has been shown before it
LATEST_S = 1e11  # a time beyond it is no time
DONE, ABNORMAL = 1000, 1006  # these are close codes of RFC 6455 and its registry
_CLOSE_CODES = {400: 1007, 413: 1009, 415: 1007, 422: 1007, 429: 1013, 500: 1011, 503: 1013}
_OTHER_CLOSE_CODE = 1008
_FIRST_FREE_CODE = 3000  # from here on clients choose codes as they like: measured as one


@dataclass(frozen=True, eq=False)
class SentPicture:
    """An encoded picture and its time in seconds."""

    time: float
    content: bytes


class Mailbox:
    """The newest pictures of a session; older ones make room.

    Attributes:
        dropped: pictures that were, so far.
        read: answers that the client has read, as it says.
        over: why no more come: a problem, or the end of the session; None while more may.
    """

    def __init__(self):
        self.dropped = 0
        self.read = 0
        self.over: Problem | WebSocketDisconnect | str | None = None
        self._pictures: deque[SentPicture] = deque()
        self._news = asyncio.Event()

    def put(self, picture: SentPicture, read: int) -> None:
        if len(self._pictures) == NEWEST_KEPT:
            self._pictures.popleft()
            self.dropped += 1
        self._pictures.append(picture)
        self.read = max(self.read, read)
        self._news.set()

    def end(self, why: Problem | WebSocketDisconnect | str) -> None:
        self.over = why
        self._news.set()

    async def take(self, answered: int) -> list[SentPicture]:
        """The pictures that wait, as soon as there are some and the client keeps up; none when the session is over."""
        while self.over is None and (not self._pictures or answered - self.read >= MOST_UNREAD):
            self._news.clear()
            await self._news.wait()
        taken = [] if isinstance(self.over, WebSocketDisconnect) else list(self._pictures)
        self._pictures.clear()
        return taken


class LiveSession:
    """One client's session, from its first message to its last.

    Args:
        websocket: not accepted yet.
        service: what it runs in.
    """

    def __init__(self, websocket: WebSocket, service: Service):
        self._websocket = websocket
        self._service = service
        self._limits = service.settings
        self._mailbox = Mailbox()
        self._answered = 0
        self._told_dropped = 0
        self._faces = 0  # that were followed so far: tracks are numbered

    async def run(self) -> int:
        """Serves the client, closes the websocket and gives its close code."""
        try:
            await self._websocket.accept()
            async with asyncio.timeout(self._limits.live_limit_s):
                with self._service.newcomers.place():
                    hello = await self._hello()
                with self._service.sessions.place():
                    stream = await self._begin(hello)
                    receiving = asyncio.create_task(self._receive())
                    try:
                        await self._answer(stream)
                    finally:
                        receiving.cancel()
            code = DONE
        except WebSocketDisconnect as gone:
            return min(gone.code, _FIRST_FREE_CODE)
        except TimeoutError:
            detail = f"A live session lasts {self._limits.live_limit_s:g} s at most."
            code = await self._tell(Problem(408, "session_over", detail))
        except Exception as error:
            code = await self._tell(problem_of(error))
        if self._websocket.application_state is WebSocketState.CONNECTED:
            with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # it was closed at the other end
                await self._websocket.close(code)
        return code

    async def _hello(self) -> dict[str, Any]:
        """The first message, of a client that may use the service."""
        message = await self._next_message(HELLO_LIMIT_S)
        try:
            hello = json.loads((message.get("text") or "")[:LONGEST_HELLO])
        except (ValueError, RecursionError):
            hello = None
        if not isinstance(hello, dict) or not all(isinstance(hello.get(name), str | None) for name in ("key", "model")):
            raise Problem(422, "bad_hello", 'The first message has to be JSON such as {"model": "NAME", "stride": 10}.')
        self._service.access.check_key(hello.get("key"))
        return hello

    async def _begin(self, hello: dict[str, Any]) -> EmotionStream:
        """Makes what the first message asks for, and answers it."""
        model = await asyncio.to_thread(self._service.models.get, hello.get("model"))
        stream = stream_for(self._service, model, hello.get("stride"))
        await self._send(
            type="ready",
            model=model.name,
            architecture=model.record.architecture,
            labels=list(model.record.labels),
            frames=model.record.frames,
        )
        return stream

    async def _receive(self) -> None:
        """Puts what comes into the mailbox, whatever the engine is doing."""
        last = -math.inf
        try:
            while True:
                message = await self._next_message()
                content = message.get("bytes")
                if content is None:
                    self._mailbox.end(_end_of(message.get("text") or ""))
                    return
                if len(content) > self._limits.max_live_frame + HEADER.size:
                    raise Problem(413, "too_large", f"A picture has {self._limits.max_live_frame_mb:g} MB at most.")
                if len(content) <= HEADER.size:
                    raise Problem(422, "bad_picture", "A picture comes behind 12 bytes of time and answers read.")
                at, read = HEADER.unpack_from(content)
                if not last < at < LATEST_S or at < 0:
                    raise Problem(422, "bad_time", "The seconds of a picture have to be more than those of the last.")
                last = at
                self._mailbox.put(SentPicture(at, content[HEADER.size :]), min(read, self._answered))
        except (Problem, WebSocketDisconnect) as why:
            self._mailbox.end(why)
        except Exception as error:  # whoever carries the messages here has failed: nobody would end the session else
            log.warning("a live session's connection broke off: %s", cause_of(error))
            self._mailbox.end(WebSocketDisconnect(ABNORMAL))

    async def _answer(self, stream: EmotionStream) -> None:
        """Looks at pictures and tells of them until the session is over."""
        while pictures := await self._mailbox.take(self._answered):
            begun = time.monotonic()
            sizes, observations = await self._service.live.run(lambda job, seen=pictures: self._look(stream, seen, job))
            newest = max((face.track for one in observations for face in one.faces), default=0)
            self._service.metrics.worked(len(pictures), max(newest - self._faces, 0), time.monotonic() - begun)
            self._faces = max(newest, self._faces)
            self._service.metrics.dropped(self._mailbox.dropped - self._told_dropped)
            self._told_dropped = self._mailbox.dropped
            for size, observation in zip(sizes, observations, strict=True):
                await self._send(type="frame", size=size, dropped=self._told_dropped, **_told(observation))
                self._answered += 1
        if isinstance(self._mailbox.over, Exception):
            raise self._mailbox.over
        last = await self._service.live.run(lambda job: stream.finish())
        await self._send(type="end", dropped=self._told_dropped, **_told(last or Observation(0.0, [])))

    async def _next_message(self, limit_s: float = math.inf) -> dict[str, Any]:
        limit_s = min(limit_s, self._limits.live_idle_s)
        try:
            message = await asyncio.wait_for(self._websocket.receive(), limit_s)
        except TimeoutError:
            detail = f"Nothing came for {limit_s:g} s."
            raise Problem(408, "idle", detail) from None
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", DONE))
        return message

    async def _send(self, **message: Any) -> None:
        try:
            async with asyncio.timeout(self._limits.live_idle_s):
                await self._websocket.send_text(json.dumps(message, allow_nan=False))
        except (RuntimeError, OSError):  # a TimeoutError is one
            raise WebSocketDisconnect from None  # it was closed at the other end, or nothing is read there

    async def _tell(self, problem: Problem) -> int:
        """Tells of a problem and gives the close code for it."""
        code = _CLOSE_CODES.get(problem.status, _OTHER_CLOSE_CODE)
        with contextlib.suppress(WebSocketDisconnect):
            await self._send(**problem.document() | {"type": "problem", "problem": problem.document()["type"]})
        return code

    def _look(
        self, stream: EmotionStream, pictures: list[SentPicture], job: Job
    ) -> tuple[list[list[int]], list[Observation]]:
        """Decodes pictures and pushes them; each one's width and height in px, and what is known after it."""
        frames = [decode_picture(picture.content, self._limits.max_live_pixels) for picture in pictures]
        job.check()
        try:
            observations = stream.push(frames, [picture.time for picture in pictures])
        except EmotionRayError as error:
            raise Problem(422, "bad_picture", str(error)) from None
        return [[frame.shape[1], frame.shape[0]] for frame in frames], observations


def _end_of(text: str) -> Problem | str:
    """What a text message after the first one means."""
    try:
        ends = json.loads(text[:LONGEST_HELLO]) == {"end": True}
    except (ValueError, RecursionError):
        ends = False
    detail = 'After the first message come pictures, or {"end": true}.'
    return "end" if ends else Problem(422, "bad_message", detail)


def _told(observation: Observation) -> dict[str, Any]:
    return {"time": observation.time, "faces": [_told_face(face) for face in observation.faces]}


def _told_face(face: FaceObservation) -> dict[str, Any]:
    return {
        "track": face.track,
        "box": [round(float(edge), 1) for edge in face.box],
        "found": face.found,
        "probability": round(face.prob, 4),
        "buffered": face.buffered,
        "prediction": None if face.prediction is None else told_prediction(face.prediction),
    }
