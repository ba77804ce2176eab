"""What one process that serves has in its hands."""

from dataclasses import dataclass

from emotion_ray.service.access import Access
from emotion_ray.service.metrics import Metrics, Unmeasured
from emotion_ray.service.models import Models
from emotion_ray.service.work import Places, Work
from emotion_ray.settings import ServeSettings
from emotion_ray.vision.mtcnn import MTCNN

LIVE_STEP_LIMIT_S = 30.0  # for the few pictures that a live session has looked at at once
MOST_NEWCOMERS = 16
QUEUE_FULL = "{taken} uploads are being worked on or wait already: send it again in a moment."
LIVE_FULL = "As many live sessions as there is room for are open already: start it again in a moment."


@dataclass(frozen=True, eq=False)
class Service:
    """Everything that requests share.

    Attributes:
        mtcnn: only read, so threads share it.
        queue: a place for each upload, from before it is read until its answer was: it bounds the memory of all.
        uploads: where videos are worked on.
        newcomers: a place for each client of the websocket that has not shown yet that it may use the service.
        sessions: a place for each live session.
        live: where the pictures of live sessions are worked on.
    """

    settings: ServeSettings
    access: Access
    metrics: Metrics
    models: Models
    mtcnn: MTCNN
    queue: Places
    uploads: Work
    newcomers: Places
    sessions: Places
    live: Work

    @classmethod
    def of(cls, settings: ServeSettings, access: Access, metrics: Metrics) -> "Service":
        models = Models(settings.store, settings.model, settings.models_in_memory)
        return cls(
            settings,
            access,
            metrics,
            models,
            MTCNN(),
            queue=Places(settings.uploads_at_once + settings.queue, QUEUE_FULL),
            uploads=Work(settings.uploads_at_once, settings.time_limit_s, metrics),
            newcomers=Places(MOST_NEWCOMERS, LIVE_FULL),
            sessions=Places(settings.live_at_once, LIVE_FULL),
            live=Work(settings.live_at_once, LIVE_STEP_LIMIT_S, Unmeasured()),  # what waits are uploads alone
        )

    @property
    def hangs(self) -> bool:
        """Whether work hangs where it can't be stopped: the process is to be ended."""
        return self.uploads.hangs or self.live.hangs
