"""What one process that serves has in its hands."""

from dataclasses import dataclass

from emotion_ray.service.access import Access
from emotion_ray.service.metrics import Metrics, Unmeasured
from emotion_ray.service.models import Models
from emotion_ray.service.work import Work
from emotion_ray.settings import ServeSettings
from emotion_ray.vision.mtcnn import MTCNN

LIVE_STEP_LIMIT_S = 30.0  # for the few pictures that a live session has looked at at once


@dataclass(frozen=True, eq=False)
class Service:
    """Everything that requests share.

    Attributes:
        mtcnn: only read, so threads share it.
        uploads: where videos are worked on.
        live: where the pictures of live sessions are; each has a place there while it lasts.
    """

    settings: ServeSettings
    access: Access
    metrics: Metrics
    models: Models
    mtcnn: MTCNN
    uploads: Work
    live: Work

    @classmethod
    def of(cls, settings: ServeSettings, access: Access, metrics: Metrics) -> "Service":
        models = Models(settings.store, settings.model, settings.models_in_memory)
        uploads = Work(settings.uploads_at_once, settings.queue, settings.time_limit_s, metrics)
        live = Work(settings.live_at_once, 0, LIVE_STEP_LIMIT_S, Unmeasured())  # what waits are uploads alone
        return cls(settings, access, metrics, models, MTCNN(), uploads, live)

    @property
    def hangs(self) -> bool:
        """Whether work hangs where it can't be stopped: the process is to be ended."""
        return self.uploads.hangs or self.live.hangs
