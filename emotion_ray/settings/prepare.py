"""What a person can set of preparing: from videos to face clips."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

from emotion_ray.errors import EmotionRayError
from emotion_ray.settings.checks import check_address, check_choices, check_numbers, default_root, home_filled_in

BASE_URL = "https://zenodo.org"


@dataclass(frozen=True)
class CropSettings:
    """How a video becomes a clip. All of these change pixels, so all are part of a clip's fingerprint."""

    detector: Literal["track", "exact"] = "track"
    """track: the cascade in a window around the last face; exact: in each frame, facenet-pytorch's very box."""
    frames: int = 60
    """Frames a clip (T)."""
    sampling: Literal["first", "uniform"] = "first"
    """first: the first frames at 29.97 a second; uniform: spread over the whole take."""
    size: int = 64
    """Height and width of a crop, in px."""

    def __post_init__(self):
        check_choices(self)
        check_numbers(self, frames=(1, 10_000), size=(8, 1024))


@dataclass(frozen=True)
class PrepareSettings(CropSettings):
    """From archives to face clips."""

    source: str = "zenodo"
    """zenodo: the RAVDESS record; or a folder of archives or videos; or a CSV manifest path,label,actor[,clip_id]."""
    actors: str | None = None
    """Which actors, such as 1-10 or 3,7,20-24. Default: 1-10 of the RAVDESS record, all of a folder or manifest."""
    modality: Literal["av", "video", "both"] = "av"
    """av: takes with sound; video: without (the same performances); both: each performance twice."""
    base_url: str = BASE_URL
    """Where the RAVDESS record is: Zenodo, or a mirror with the same paths."""
    root: str = field(default_factory=default_root)
    """Folder under which everything is made."""
    out: str | None = None
    """Folder of the clips, a path or a URI. Default: ROOT/clips."""
    cache: str | None = None
    """Folder of the downloaded archives, on each machine's disk. Default: ROOT/archives, below ~ if ROOT is a URI."""
    workers: int | None = None
    """Takes cropped at a time. Default: one a CPU."""
    downloads: int = 4
    """Archives downloaded at a time."""
    take_timeout_s: float = 120.0
    """Seconds after which a take that hangs is given up."""

    def __post_init__(self):
        super().__post_init__()
        check_numbers(self, workers=(1, 4096), downloads=(1, 64), take_timeout_s=(0.01, 86_400))
        check_address("--base-url", self.base_url)
        if "://" in (self.cache or ""):
            raise EmotionRayError("--cache is a folder on each machine's own disk, not a URI")

    @property
    def cache_folder(self) -> Path:
        """Where each machine keeps the archives: always a disk, whatever `root` is."""
        root = Path.home() / "emotion_ray" if "://" in self.root else self.root
        return home_filled_in(self.cache or f"{root}/archives").absolute()

    @property
    def crop(self) -> CropSettings:
        """The part that changes pixels."""
        return CropSettings(**{one.name: getattr(self, one.name) for one in fields(CropSettings)})
