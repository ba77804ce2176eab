"""The service's measurements as Ray's metrics, which its dashboard and Prometheus read."""

from ray.util.metrics import Counter, Gauge, Histogram

SECONDS = [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300]
FRAMES_A_SECOND = [1, 3, 10, 30, 60, 100, 200, 400, 800, 1600]


class RayMetrics:
    """`emotion_ray.service.metrics.Metrics` that go to Ray."""

    def __init__(self):
        keys = ("route", "status")
        self._requests = Counter("emotion_ray_requests", "Requests answered, and live sessions ended.", keys)
        self._latency = Histogram("emotion_ray_latency_s", "Seconds from request to answer.", SECONDS, ("route",))
        self._frames = Counter("emotion_ray_frames", "Frames of video that went through the engine.")
        self._faces = Counter("emotion_ray_faces", "Faces that were followed, each counted once.")
        self._rate = Histogram(
            "emotion_ray_frames_per_second", "Frames a second of each piece of work.", FRAMES_A_SECOND
        )
        self._queue = Gauge("emotion_ray_queue", "Uploads that wait for their turn at a replica.")
        self._dropped = Counter("emotion_ray_dropped_frames", "Frames of live sessions that newer ones replaced.")

    def answered(self, route: str, status: int, seconds: float) -> None:
        self._requests.inc(1, {"route": route, "status": str(status)})
        self._latency.observe(seconds, {"route": route})

    def worked(self, frames: int, faces: int, seconds: float) -> None:
        if frames:
            self._frames.inc(frames)
            self._rate.observe(frames / max(seconds, 1e-6))
        if faces:  # a counter refuses to be increased by nothing
            self._faces.inc(faces)

    def waiting(self, uploads: int) -> None:
        self._queue.set(uploads)

    def dropped(self, frames: int) -> None:
        if frames:
            self._dropped.inc(frames)
