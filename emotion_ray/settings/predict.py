"""What a person can set of using a model on videos."""

from dataclasses import dataclass, field
from typing import Literal

from emotion_ray.settings.checks import check_choices, check_numbers, check_on_disk, default_root


@dataclass(frozen=True)
class PredictSettings:
    """From videos to annotated ones."""

    model: str | None = None
    """Name of a stored model, or path of a model's folder or .pth file. Default: the stored one of the best UAR."""
    architecture: Literal["lstm", "attention"] | None = None
    """Which of the two classifiers it has to be. Default: either."""
    out: str = "."
    """Folder to write to."""
    force: bool = False
    """Replace what is there already; a video that is read is never replaced."""
    stride: int = 10
    """Frames, of 29.97 a second, from one prediction of a face to the next."""
    early: int | None = None
    """Give estimates, marked as such, from so many frames on. Default: only at the end of a face seen too briefly."""
    max_faces: int = 8
    """Faces followed at a time; the larger ones come first."""
    detector: Literal["track", "exact"] = "track"
    """track: follows each face; exact: facenet-pytorch's largest face of each frame, as if it were the only one."""
    timeline: Literal["jsonl", "csv"] = "jsonl"
    """How the table of predictions is written: JSON Lines or CSV."""
    camera: int | None = None
    """Number of a camera to record from, until Ctrl-C, in place of videos."""
    seconds: float | None = None
    """End the recording after so long."""
    root: str = field(default_factory=default_root)
    """Folder under which everything is made; the models are in ROOT/models."""

    def __post_init__(self):
        check_on_disk("--out", self.out)
        check_numbers(self, stride=(1, 10_000), early=(1, 10_000), max_faces=(1, 64))
        check_numbers(self, camera=(0, 1000), seconds=(0.1, 86_400))
        check_choices(self)

    @property
    def models_folder(self) -> str:
        return f"{self.root}/models"
