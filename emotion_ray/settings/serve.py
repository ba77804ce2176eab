"""What a person can set of serving: where the service listens, how much it takes on, and what it refuses."""

from dataclasses import dataclass, field

from emotion_ray.settings.checks import check_numbers, default_root


@dataclass(frozen=True)
class ServeLimits:
    """What the service refuses, before and during the work."""

    max_body_mb: float = 64.0
    """Largest upload, in MB (10**6 bytes)."""
    max_video_s: float = 180.0
    """Longest video, in seconds."""
    max_frames: int = 10_800
    """Most frames of a video."""
    time_limit_s: float = 120.0
    """Longest work on one upload, in seconds, the wait for its turn left out."""
    upload_limit_s: float = 60.0
    """Longest time that an upload may take to come in, in seconds."""
    max_live_frame_mb: float = 2.0
    """Largest picture of a live session, in MB."""
    max_live_pixels: int = 1920 * 1080
    """Largest picture of a live session, in pixels."""
    live_idle_s: float = 20.0
    """Seconds after which a live session that sends nothing is closed."""
    live_limit_s: float = 1800.0
    """Longest live session, in seconds."""

    def __post_init__(self):
        check_numbers(
            self,
            max_body_mb=(0.001, 10_000),
            max_video_s=(0.1, 86_400),
            max_frames=(1, 10_000_000),
            time_limit_s=(0.1, 86_400),
            upload_limit_s=(0.1, 86_400),
            max_live_frame_mb=(0.001, 100),
            max_live_pixels=(64 * 64, 4096 * 2304),
            live_idle_s=(0.1, 86_400),
            live_limit_s=(0.1, 864_000),
        )

    @property
    def max_body(self) -> int:
        """Bytes."""
        return int(self.max_body_mb * 1e6)

    @property
    def max_live_frame(self) -> int:
        """Bytes."""
        return int(self.max_live_frame_mb * 1e6)


@dataclass(frozen=True)
class ServeSettings(ServeLimits):
    """The service: one address, one or more replicas behind it."""

    root: str = field(default_factory=default_root)
    """Folder under which everything is made; its models are served."""
    model: str | None = None
    """Name of the model that serves where a request names none. Default: the best in the store by recorded UAR."""
    host: str = "127.0.0.1"
    """Address to listen on. Any but loopback needs an API key: $EMOTION_RAY_API_KEY or --api-key-file."""
    port: int = 8000
    """Port to listen on."""
    api_key_file: str | None = None
    """File that holds the API key, instead of $EMOTION_RAY_API_KEY."""
    allowed_hosts: tuple[str, ...] = ()
    """Names under which the service may be reached, beside localhost and plain IP addresses."""
    replicas: int = 1
    """Processes that serve; with --max-replicas, the fewest of them."""
    max_replicas: int | None = None
    """Most replicas; the number follows the load. Default: always as many as --replicas."""
    cpus_per_replica: int = 1
    """CPUs of a replica, and its threads for computing."""
    at_once: int | None = None
    """Uploads that a replica works on at a time. Default: one a CPU."""
    queue: int = 8
    """Uploads that wait for their turn at a replica; further ones are answered 429."""
    live_at_once: int = 4
    """Live sessions that a replica takes at a time."""
    models_in_memory: int = 4
    """Models that a replica keeps loaded, the last ones used."""
    stride: int = 10
    """Frames from one prediction to the next where a request does not say."""
    max_faces: int = 8
    """Most faces followed at a time."""

    def __post_init__(self):
        super().__post_init__()
        check_numbers(
            self,
            port=(1, 65_535),
            replicas=(1, 4096),
            max_replicas=(self.replicas, 4096),
            cpus_per_replica=(1, 1024),
            at_once=(1, 4096),
            queue=(0, 10_000),
            live_at_once=(0, 1000),
            models_in_memory=(1, 1000),
            stride=(1, 10_000),
            max_faces=(1, 100),
        )

    @property
    def store(self) -> str:
        """The folder of the models, a path or URI."""
        return f"{self.root}/models"

    @property
    def uploads_at_once(self) -> int:
        return self.at_once or self.cpus_per_replica
