"""The service as a plain FastAPI app: predictions for videos and live pictures, and the page. No Ray."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import Depends, FastAPI, Request, Response, WebSocket
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles

from emotion_ray import __version__
from emotion_ray.service import examples
from emotion_ray.service.access import Access, Guard
from emotion_ray.service.annotation import annotate
from emotion_ray.service.headers import PAGE, Headers
from emotion_ray.service.live import LiveSession
from emotion_ray.service.metrics import Measured, Metrics, Unmeasured
from emotion_ray.service.pace import Pace, WholeAnswer
from emotion_ray.service.prediction import as_json, predict
from emotion_ray.service.problems import Problem, answer_with_problems, busy
from emotion_ray.service.service import Service
from emotion_ray.service.uploads import read_upload
from emotion_ray.settings import ServeSettings

PAGE_FILES = Path(__file__).parent / "page"
_YES_OR_NO = {"true": True, "1": True, "false": False, "0": False, "": False}


def create_app(settings: ServeSettings, access: Access, metrics: Metrics | None = None) -> FastAPI:
    """The app; `app.state.service` is the `Service` it runs.

    Args:
        settings: limits, the store and the default model; address and replicas are for who runs the app.
        access: who may use it, from `access_of`.
        metrics: where measurements go.

    Raises:
        EmotionRayError: the face detector's weights are not installed.
    """
    service = Service.of(settings, access, metrics or Unmeasured())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.uploads.close()
        service.live.close()

    app = FastAPI(
        title="emotion_ray",
        version=__version__,
        description=examples.DESCRIPTION,
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service = service
    answer_with_problems(app)
    _add_predictions(app, service)
    _add_information(app, service)
    app.mount(PAGE.rstrip("/"), StaticFiles(directory=PAGE_FILES), name="page")
    app.add_middleware(Guard, access=access)
    app.add_middleware(Headers)
    app.add_middleware(Measured, metrics=service.metrics)
    app.add_middleware(Pace)
    return app


def _add_predictions(app: FastAPI, service: Service) -> None:
    async def place(request: Request) -> AsyncIterator[None]:
        """In the queue, for who has the key: from before an upload is read until its answer was."""
        service.access.check_headers_key(request.headers)
        with service.queue.place():
            yield

    @app.post(
        "/v1/predict",
        openapi_extra=examples.PREDICT,
        responses=examples.PREDICT_RESPONSES,
        dependencies=[Depends(place, scope="request")],
    )
    async def predict_video(request: Request) -> Response:
        """What the faces of a video express, as JSON; or, with `annotate`, the video with that drawn on it."""
        upload = await read_upload(request, service.settings)
        wanted = _YES_OR_NO.get(upload.fields.get("annotate", "").lower())
        if wanted is None:
            raise Problem(422, "bad_annotate", "annotate has to be true or false.")
        if wanted:
            video = await service.uploads.run(lambda job: annotate(service, upload, job))
            return WholeAnswer(video, media_type="video/mp4")
        # of a long video the answer is long: it is written in the thread too, while others are answered here
        answer = await service.uploads.run(lambda job: as_json(predict(service, upload, job)))
        return WholeAnswer(answer, media_type="application/json")

    @app.websocket("/v1/stream")
    async def stream(websocket: WebSocket) -> None:
        began = time.monotonic()
        code = await LiveSession(websocket, service).run()
        service.metrics.answered("/v1/stream", code, time.monotonic() - began)


def _add_information(app: FastAPI, service: Service) -> None:
    @app.get("/v1/models", responses=examples.MODELS_RESPONSES)
    def models(request: Request) -> JSONResponse:
        """The models in the store, and which of them serves where a request names none."""
        service.access.check_headers_key(request.headers)
        return JSONResponse(service.models.describe())

    @app.get("/healthz", responses=examples.STATUS_RESPONSES)
    async def healthz() -> JSONResponse:
        """Whether the process is alive."""
        return JSONResponse({"status": "ok"})

    @app.get("/readyz", responses=examples.STATUS_RESPONSES)
    def readyz() -> JSONResponse:
        """Whether a prediction would succeed now: a model is there, and no work hangs."""
        if service.hangs:
            raise busy("Work hangs in this process, which has to be restarted.", 503)
        return JSONResponse({"status": "ok", "model": service.models.get(None).name})

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE_FILES / "index.html")
