"""The folder of a run under ROOT/runs, and the record in it: with which settings it was begun, whether it ended."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from emotion_ray.data.clips import Clips
from emotion_ray.data.storage import Folder
from emotion_ray.errors import EmotionRayError
from emotion_ray.models.record import versions
from emotion_ray.models.store import NAME
from emotion_ray.settings import RunSettings, rebuilt

RECORD = "run.json"

Settings = TypeVar("Settings", bound=RunSettings)


@dataclass
class RunFolder:
    """A run's folder, made when something is first written to it.

    Attributes:
        name: of the run.
        folder: a path or URI.
        record: the contents of run.json: `command`, `settings`, `versions`, `began`, `complete`, with `clips` what
            it works on, with `models` what it has put into the store, and what the command adds.
    """

    name: str
    folder: Folder
    record: dict[str, Any] = field(default_factory=dict)

    def path(self, *parts: str) -> str:
        """The path or URI of something in the folder; local paths are absolute."""
        root = self.folder.path if self.folder.is_local else self.folder.uri.rstrip("/")
        return "/".join([root, *parts])

    @property
    def models(self) -> list[str]:
        """Names of the models that it has put into the store."""
        return self.record.get("models", [])

    def begin(self, clips: Clips) -> None:
        """Writes the record of a run on these clips, or makes sure that those of one that goes on are the same.

        Other clips would be split otherwise, and what was trained on would become what is tested on.

        Raises:
            EmotionRayError: they are others than those it was begun with, or the folder can't be written.
        """
        now, then = _identity(clips), self.record.get("clips")
        if then not in (None, now):
            raise EmotionRayError(
                f"run {self.name} was begun with other clips than these {len(clips)}: give it those, or begin another "
                "run, without --resume"
            )
        self.note(clips=now)

    def note(self, **facts: Any) -> None:
        """Adds facts to the record and writes it.

        Raises:
            EmotionRayError: the folder can't be written.
        """
        self.record |= facts
        self.folder.publish(RECORD, json.dumps(self.record, indent=2, default=str).encode() + b"\n")


def run_folder(settings: RunSettings) -> str:
    """The path or URI of the folder of the run that the settings name."""
    return f"{_runs(settings)}/{settings.run}"


def open_run(command: str, settings: Settings) -> tuple[RunFolder, Settings]:
    """The folder of a new run, or with `settings.resume` that of one that was cut off.

    Args:
        command: "train", "tune" or "evaluate".
        settings: of the command.

    Returns:
        the folder, and the settings to work with: of a resumed run those that it was begun with, but for where to
        find it.

    Raises:
        EmotionRayError: no name for a run, a new run by a name that is taken, none to be resumed, or one that is
            complete.
    """
    runs = Folder.at(_runs(settings))
    if settings.run is not None and not NAME.fullmatch(settings.run):
        raise EmotionRayError(
            f"--run {settings.run!r:.120} is no name for a run: "
            "use at most 100 letters, digits, . _ -, and no dot first"
        )
    if not settings.resume:
        name = settings.run or f"{command}-{settings.model}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
        folder = Folder.at(run_folder(replace(settings, run=name)))
        if folder.exists(RECORD):
            raise EmotionRayError(f"there is a run {name} in {runs.uri}: go on with --resume, or give another --run")
        run = RunFolder(name, folder)
        kept = asdict(replace(settings, run=name))
        run.record = {"command": command, "settings": kept, "versions": versions(), "began": _now(), "complete": False}
        return run, settings
    name = settings.run or _newest_unfinished(runs, command)
    run = RunFolder(name, Folder.at(run_folder(replace(settings, run=name))))
    run.record = _read(run.folder)
    if run.record.get("command") != command:
        raise EmotionRayError(f"{name} in {runs.uri} is no run of {command} that can be resumed: give another --run")
    if run.record.get("complete"):
        models = f"its models are {', '.join(run.models)}" if run.models else f"see {run.path()}"
        raise EmotionRayError(f"run {name} is complete, {models}: leave out --resume, and give another --run")
    begun = rebuilt(type(settings), run.record.get("settings"), f"run {name}")
    return run, replace(begun, root=settings.root, run=name, resume=True)


def _runs(settings: RunSettings) -> str:
    return f"{settings.root}/runs"


def _newest_unfinished(runs: Folder, command: str) -> str:
    found = []
    for path in runs.names(f"/{RECORD}"):
        record = _read(Folder.at(f"{runs.uri}/{path.removesuffix('/' + RECORD)}"))
        if record.get("command") == command and not record.get("complete"):
            found.append((record.get("began", ""), path.removesuffix("/" + RECORD)))
    if not found:
        raise EmotionRayError(f"there is no unfinished run of {command} in {runs.uri}: leave out --resume")
    return max(found)[1]


def _read(folder: Folder) -> dict[str, Any]:
    try:
        record = json.loads(folder.read(RECORD))
    except FileNotFoundError:
        raise EmotionRayError(f"there is no run in {folder.uri}: leave out --resume, or give another --run") from None
    except (ValueError, OSError):
        record = None
    return record if isinstance(record, dict) else {}


def _identity(clips: Clips) -> dict[str, Any]:
    """How many clips, and a hash of their names, labels and actors, in their order, and of how they were prepared."""
    about = [clips.clip_id, clips.emotion.tolist(), clips.actor.tolist(), sorted(clips.prepared_with)]
    return {"count": len(clips), "sha256": hashlib.sha256(json.dumps(about).encode()).hexdigest()}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
