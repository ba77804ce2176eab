"""The service on Ray Serve: replicas behind one address."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import torch
from fastapi import FastAPI
from pydantic import TypeAdapter, ValidationError
from ray import serve
from ray.exceptions import RayError
from ray.serve import Application
from ray.serve.config import AutoscalingConfig, BackpressureConfig
from ray.serve.context import _get_global_client
from rich.console import Console

from emotion_ray.data.storage import cause_of
from emotion_ray.distributed.cluster import connected
from emotion_ray.distributed.preflight import Need, room
from emotion_ray.distributed.serve_metrics import RayMetrics
from emotion_ray.distributed.serve_proxy import CALLBACK, middlewares
from emotion_ray.errors import EmotionRayError
from emotion_ray.models.store import ways_to_a_model
from emotion_ray.service.access import Access, access_of
from emotion_ray.service.app import create_app
from emotion_ray.service.models import Models
from emotion_ray.service.service import MOST_NEWCOMERS
from emotion_ray.settings import ServeSettings

APP = "emotion_ray"
LIGHT_REQUESTS = 16  # for the page, the models and so on
HEALTH_CHECK_S = 5.0
SLACK_S = 30.0  # Serve's own time limit comes after all of ours
PROXY_CALLBACK = f"{middlewares.__module__}:{middlewares.__name__}"


@serve.deployment(name="replica", health_check_period_s=HEALTH_CHECK_S, health_check_timeout_s=30.0)
@serve.ingress()
class Replica:
    """One process that serves; it decodes, detects and classifies with threads of its own."""

    def __init__(self, settings: ServeSettings, access: Access):
        access.check_address(_host())
        torch.set_num_threads(max(1, settings.cpus_per_replica // settings.uploads_at_once))
        self._app = create_app(settings, access, RayMetrics())

    def __serve_build_asgi_app__(self) -> FastAPI:
        return self._app

    def check_health(self) -> None:
        """Serve asks this now and then, and replaces a replica that raises."""
        if self._app.state.service.hangs:
            raise RuntimeError("work hangs where it can't be stopped")


def application(settings: ServeSettings, access: Access) -> Application:
    """What Serve is to run."""
    ongoing = settings.uploads_at_once + settings.queue + settings.live_at_once + MOST_NEWCOMERS + LIGHT_REQUESTS
    autoscaling = None
    if settings.max_replicas is not None:
        autoscaling = AutoscalingConfig(
            min_replicas=settings.replicas,
            max_replicas=settings.max_replicas,
            target_ongoing_requests=settings.uploads_at_once,
        )
    return Replica.options(
        num_replicas=settings.replicas if autoscaling is None else None,
        autoscaling_config=autoscaling,
        max_ongoing_requests=ongoing,
        max_queued_requests=ongoing,
        backpressure_config=BackpressureConfig(status_code=429, retry_after_s=1),
        graceful_shutdown_timeout_s=request_timeout(settings),  # at Serve's 20 s it would cut off what it works on
        ray_actor_options={"num_cpus": settings.cpus_per_replica},
    ).bind(settings, access)


def build(arguments: dict[str, Any]) -> Application:
    """The application for `serve run emotion_ray.distributed.serve:build stride=5` and a config's `args`.

    Args:
        arguments: fields of `ServeSettings` by name. Serve alone decides where it listens (`http_options`); without
            an API key, `host` has to say here that this is loopback, and replicas start only where that is true.

    Raises:
        EmotionRayError: an unknown field or a wrong value, or no API key where one is needed.
    """
    known = [one.name for one in fields(ServeSettings)]
    unknown = sorted(set(arguments) - set(known))
    if unknown:
        raise EmotionRayError(f"there is no setting {unknown[0]!r:.80}: give some of {', '.join(known)}")
    try:
        settings = TypeAdapter(ServeSettings).validate_python({"host": "0.0.0.0"} | arguments)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise EmotionRayError(f"the setting {where}: {first['msg']}") from None
    return application(settings, access_of(settings))


def request_timeout(settings: ServeSettings) -> float:
    """Serve's own limit, in seconds, for a request that uploads, waits and is worked on: after all limits of ours."""
    turns = 1 + settings.queue / settings.uploads_at_once
    return settings.upload_limit_s + turns * settings.time_limit_s + SLACK_S


@contextmanager
def serving(settings: ServeSettings, console: Console) -> Iterator[str]:
    """Serves while the block runs, and gives the URL.

    Raises:
        EmotionRayError: the settings can't be served; the message says why.
    """
    access = access_of(settings)
    names = sorted(Models(settings.store).records())
    if not names:
        console.print(f"there is no model in {settings.store} yet: {ways_to_a_model()}", soft_wrap=True)
    elif settings.model is not None and settings.model not in names:
        raise EmotionRayError(f"there is no model {settings.model!r} in {settings.store}: there are {', '.join(names)}")
    logging.getLogger("ray.serve").setLevel(logging.WARNING)  # what it would tell, we do
    os.environ[CALLBACK] = PROXY_CALLBACK  # for a Ray of our own; on a cluster the controller is told
    with connected(metrics=True) as place:
        fits = room(place.machines, Need(settings.cpus_per_replica))
        if fits < settings.replicas:
            needed = settings.replicas * settings.cpus_per_replica
            raise EmotionRayError(
                f"{settings.replicas} replicas x {settings.cpus_per_replica} CPU = {needed} CPU, and {place} is all "
                f"there is, room for {fits}: give fewer --replicas or --cpus-per-replica"
            )
        ours = _get_global_client(raise_if_no_controller_running=False) is None
        if not ours:
            access.check_address(_host())
        try:
            _start(settings, access)
            console.print(f"models: {', '.join(names) or 'none yet'}", soft_wrap=True)
            yield _get_global_client().root_url  # not where we asked for if Serve ran before
        finally:
            _stop(ours)


def _start(settings: ServeSettings, access: Access) -> None:
    """Starts Serve, or joins the one that runs already, and our part of it."""
    try:
        serve.start(
            proxy_location="EveryNode",
            http_options={
                "host": settings.host,
                "port": settings.port,
                "request_timeout_s": request_timeout(settings),
            },
            controller_options={"runtime_env": {"env_vars": {CALLBACK: PROXY_CALLBACK}}},
        )
        serve.run(application(settings, access), name=APP, route_prefix="/")
    except (RuntimeError, OSError, RayError) as error:
        fix = "see that nothing else is at --port, or give another"
        raise EmotionRayError(f"Serve does not start ({cause_of(error):.300}): {fix}") from None


def _host() -> str:
    """Where Serve listens: who started it decided that."""
    return _get_global_client().http_config.host


def _stop(ours: bool) -> None:
    """Ends Serve, also one that started by half; or our part of it, where it is not ours or serves others too."""
    applications = set(serve.status().applications)  # none where there is no Serve
    if ours and not applications - {APP}:
        serve.shutdown()
    elif APP in applications:
        serve.delete(APP)


def wait_for_interrupt() -> None:
    """Until Ctrl-C."""
    while True:
        time.sleep(3600)
