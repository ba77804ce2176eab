"""The command that uses a model on videos: predict."""

from typing import TYPE_CHECKING, Any

import tyro

from emotion_ray.cli.output import Flat, console_for, print_json
from emotion_ray.errors import EmotionRayError
from emotion_ray.settings import PredictSettings

if TYPE_CHECKING:
    from rich.console import Console

    from emotion_ray.inference.videos import Predicted
    from emotion_ray.models.store import LoadedModel


def predict(
    settings: Flat[PredictSettings], videos: tyro.conf.Positional[tuple[str, ...]] = (), json: bool = False
) -> None:
    """What the faces in videos express: an annotated video, a table and a picture of probabilities of each.

    Examples: `emotion-ray predict take.mp4`, `emotion-ray predict videos/ --model attention-demo --out annotated/`,
    `emotion-ray predict --camera 0 --seconds 20`.

    Args:
        settings: which model, and how.
        videos: files and folders; those of a folder are found below it.
        json: print the result as JSON.
    """
    from emotion_ray.allocator import keep_freed_memory
    from emotion_ray.inference.videos import chosen_model, predict_videos

    if (settings.camera is None) == (not videos):
        raise EmotionRayError("give videos or folders of them, or a camera with --camera 0, not both")
    keep_freed_memory()
    aside = console_for(json=True)
    model = chosen_model(settings)
    problems: list[str] = []
    if settings.camera is not None:
        from emotion_ray.inference.recording import record_camera

        done = [record_camera(settings, model, aside)]
    else:
        done, problems = predict_videos(settings, videos, model, aside)
    if json:
        print_json(model=model.name, videos=[_as_dict(one) for one in done], problems=problems)
    else:
        _show(done, model, console_for(json))
    if problems:
        count = len(done) + len(problems)
        raise EmotionRayError(problems[0] if count == 1 else f"{len(problems)} of {count} videos could not be used")


def _as_dict(one: "Predicted") -> dict[str, Any]:
    files = {"annotated": one.outputs.video, "timeline": one.outputs.table, "picture": one.outputs.picture}
    return {"video": one.source, **{name: str(path) for name, path in files.items()}, **one.analysis.as_dict()}


def _show(done: "list[Predicted]", model: "LoadedModel", console: "Console") -> None:
    """Prints what each video came to."""
    if done:
        console.print(f"model {model.name}, trained on {model.record.data_label}", soft_wrap=True)
    for one in done:
        console.print(f"{one.outputs.video}, {one.outputs.table.name}, {one.outputs.picture.name}", soft_wrap=True)
        for warning in one.analysis.warnings:
            console.print(f"  {warning}", soft_wrap=True)
        for face in one.analysis.as_dict()["faces"]:
            when = f"  face {face['track']}, {face['first_s']:.1f} to {face['last_s']:.1f} s: "
            if face["label"] is None:
                console.print(f"{when}seen too briefly")
                continue
            early = ", early estimate" if face["early"] else ""
            console.print(f"{when}{face['label']} {face['probabilities'][face['label']]:.0%}{early}")
