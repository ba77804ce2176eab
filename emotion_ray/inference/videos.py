"""The job of using a model on videos: an annotated video, a table and a picture of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from emotion_ray.data.archives import as_text
from emotion_ray.data.takes import read_video
from emotion_ray.errors import EmotionRayError, Reject, Stopped
from emotion_ray.inference.analysis import Analysis
from emotion_ray.inference.annotated import write_annotated
from emotion_ray.inference.best_model import best_model
from emotion_ray.inference.files import Outputs, being_written, check_free, videos_of
from emotion_ray.inference.stream import EmotionStream
from emotion_ray.inference.timeline import TABLES, picture
from emotion_ray.models.record import ModelRecord
from emotion_ray.models.store import LoadedModel, list_models, load_model, load_stored, ways_to_a_model
from emotion_ray.settings import PredictSettings
from emotion_ray.settings.checks import home_filled_in
from emotion_ray.vision.mtcnn import MTCNN


@dataclass(frozen=True)
class Predicted:
    """What came of one video."""

    source: str
    outputs: Outputs
    analysis: Analysis


def chosen_model(settings: PredictSettings) -> LoadedModel:
    """The model that the settings name, else the best of the store.

    Raises:
        EmotionRayError: there is no such model or none at all, or it can't be read.
    """
    store, wanted = settings.models_folder, settings.architecture
    if settings.model is not None:
        model = load_model(settings.model, store)
        found = model.record.architecture
        if wanted not in (None, found):
            raise EmotionRayError(f"{settings.model} is a model of type {found}, not {wanted}: give the other type")
        return model
    records = {
        name: record
        for name, record in list_models(store).items()
        if isinstance(record, ModelRecord) and wanted in (None, record.architecture)
    }
    name = best_model(records)
    if name is None:
        kind = f"{wanted} model" if wanted else "model"
        raise EmotionRayError(f"there is no {kind} in {store}: {ways_to_a_model()}, or give --model PATH")
    return load_stored(store, name)


def stream_for(settings: PredictSettings, mtcnn: MTCNN, model: LoadedModel) -> EmotionStream:
    return EmotionStream(mtcnn, model, settings.stride, settings.early, settings.max_faces, settings.detector)


def predict_videos(
    settings: PredictSettings, paths: Sequence[str], model: LoadedModel, console: Console
) -> tuple[list[Predicted], list[str]]:
    """Annotates all videos that some files and folders come to; one that can't be used does not stop the others.

    Returns:
        what came of each, and a line for each that could not be used, which the console has shown if there are more.

    Raises:
        EmotionRayError: no video at all, or the detector's weights are missing.
        Stopped: by Ctrl-C; the videos before are done, and of the one under way nothing is left.
    """
    videos = videos_of(paths)
    inputs = {path.resolve() for path, _ in videos}
    mtcnn = MTCNN()
    done: list[Predicted] = []
    problems: list[str] = []
    made: set[Path] = set()
    with _progress(console) as progress:
        for path, below in videos:
            task = progress.add_task(as_text(path.name), total=None)
            try:
                if as_text(path) != str(path):
                    raise EmotionRayError(f"{as_text(path)}: its name is not in UTF-8; rename it")
                outputs = Outputs.named(home_filled_in(settings.out) / below, path.stem, settings.timeline)
                if outputs.video in made:
                    raise EmotionRayError(f"{path} would become {outputs.video} as another does: do it by itself")
                check_free(outputs, inputs, settings.force)
                stream = stream_for(settings, mtcnn, model)
                done.append(_predict_one(settings, path, outputs, stream, progress, task))
                made.add(outputs.video)
            except Exception as error:
                problems.append(_problem(path, error))
                if len(videos) > 1:
                    console.print(f"emotion-ray: {problems[-1]}", soft_wrap=True)
            except KeyboardInterrupt:
                raise Stopped(f"stopped; {len(done)} of {len(videos)} videos are done") from None
            finally:
                progress.remove_task(task)
    return done, problems


def _problem(path: Path, error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{as_text(path)}: {error.strerror or error}: give it another name, or another --out"
    if isinstance(error, Reject):
        return error.message
    return str(error) if isinstance(error, EmotionRayError) else f"{as_text(path)}: {type(error).__name__}: {error}"


def _predict_one(
    settings: PredictSettings, path: Path, outputs: Outputs, stream: EmotionStream, progress: Progress, task: int
) -> Predicted:
    content = read_video(path)

    def show(seconds: float, declared_s: float | None) -> None:
        progress.update(task, completed=seconds, total=declared_s)

    with being_written(outputs, settings.force) as parts:
        analysis = write_annotated(content, path.name, stream, parts.video, progress=show)
        parts.table.write_text(TABLES[settings.timeline](analysis), encoding="utf-8")
        parts.picture.write_bytes(picture(analysis))
    return Predicted(str(path), outputs, analysis)


def _progress(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.1f} s of video"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
