"""The demo: the synthetic sample through the whole job on this machine, in minutes; no network needed."""

import shlex
import zipfile
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from emotion_ray.allocator import keep_freed_memory
from emotion_ray.data.ravdess import archive_name
from emotion_ray.distributed.leaderboard import LEADERBOARD
from emotion_ray.distributed.prepare import prepare
from emotion_ray.errors import EmotionRayError
from emotion_ray.inference.files import Outputs
from emotion_ray.inference.videos import chosen_model, predict_videos
from emotion_ray.learning.run_folder import run_folder
from emotion_ray.models.store import LoadedModel, model_names
from emotion_ray.real_clips import real_clips
from emotion_ray.sample import SampleIndex, build_sample, planned_takes
from emotion_ray.sample.mirror import mirror
from emotion_ray.settings import EvaluateSettings, PredictSettings, PrepareSettings, TuneSettings
from emotion_ray.settings.checks import home_filled_in
from emotion_ray.walkthrough.runs import evaluated, show_model, swept
from emotion_ray.walkthrough.stages import Made, Stages

# So short that all stages together take some minutes of two cores; a model worth having takes ten times as long.
TRIALS, EPOCHS, SHORT_EPOCHS = 4, 10, 5
LSTM, SHORT_ATTENTION, REPORT = "synthetic-lstm", "synthetic-attention-short", "synthetic-report"
"""Names of the runs, and of the models that come of the first two."""

REAL_CLIP = "01/sample_02.mp4"  # of RAVDESS
SAMPLE_CLIP = "synthetic_take.mp4"
ABOUT = """\
The whole job on the synthetic sample: videos warped from one public-domain portrait, made to try the program out.
Its figures say nothing about real faces, and with trainings as short as these they are not meant to be good.
It takes some minutes, and when it is run again it only shows what is there."""


def demo(root: Path, console: Console) -> list[Made]:
    """Renders the sample's archives, prepares clips of them as from Zenodo, tunes, evaluates and annotates a video.

    What is there from an earlier run is shown and not made again.

    Args:
        root: folder under which everything is made, but for the real clip, which is kept where the tests keep it.
        console: where progress goes.

    Returns:
        what is there now.

    Raises:
        EmotionRayError: the folder can't be written, or a stage can't do its work.
    """
    root = home_filled_in(root).absolute()
    stages = Stages(console, 6)
    console.print(ABOUT, soft_wrap=True)
    with stages.stage("archives: rendering the synthetic sample"):
        sample = _archives(root / "sample", console)
    with stages.stage("prepare: from the synthetic sample's archives to face clips, on Ray Data"):
        _clips(sample, root, console)
    lstm = TuneSettings(root=str(root), run=LSTM, trials=TRIALS, epochs=EPOCHS)
    attention = TuneSettings(root=str(root), run=SHORT_ATTENTION, model="attention", trials=1, epochs=SHORT_EPOCHS)
    with stages.stage(
        f"tune, on Ray Tune: {TRIALS} trials of the LSTM on the synthetic sample, the baseline's settings first; "
        f"and one short trial of the attention model, {SHORT_EPOCHS} epochs, which it spends near chance"
    ):
        swept(lstm, console)
        swept(attention, console)
    with stages.stage("best model in the store, by UAR on test clips of the synthetic sample"):
        model = _best_model(root, console)
    report = EvaluateSettings(root=str(root), run=REPORT, model="none", tuned=(LSTM, SHORT_ATTENTION), cost=False)
    with stages.stage("evaluate: both models anew by both protocols, on the synthetic sample, with a report"):
        page, _, _ = evaluated(report, console)
    with stages.stage("predict: an annotated video"):
        outputs = _annotated(root, sample, model, console)
    command = f"--root {shlex.quote(str(root))}"
    browser = "opens in any browser"
    return [
        Made("archives", str(sample.folder), "the synthetic sample: zip files of MP4, named and laid out as RAVDESS"),
        Made("clips", str(root / "clips"), "Parquet, read by pyarrow, pandas, DuckDB"),
        Made("faces", str(root / "clips" / "contact_sheet.png"), browser),
        Made("leaderboard", f"{run_folder(lstm)}/lstm/{LEADERBOARD}", "JSON; its pictures are beside it"),
        Made("models", str(root / "models"), f"emotion-ray predict VIDEO {command}; emotion-ray serve {command}"),
        Made("report", str(page), browser),
        Made("video", str(outputs.video), browser),
        Made("timeline", str(outputs.picture), browser),
    ]


def _archives(folder: Path, console: Console) -> SampleIndex:
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("rendering", total=None)

        def show(done: int, total: int) -> None:
            progress.update(bar, completed=done, total=total)
            if not console.is_terminal and done % 16 == 0:
                console.print(f"{done}/{total} takes")

        sample = build_sample(folder, "demo", progress=show)
    console.print(f"{len(sample.files)} archives, one for each actor, in {sample.folder}", soft_wrap=True)
    return sample


def _clips(sample: SampleIndex, root: Path, console: Console) -> None:
    with mirror(sample.folder) as address:
        actors = f"1-{len(sample.files)}"
        done = prepare(PrepareSettings(base_url=address, actors=actors, root=str(root)), console)
    held = sum(row.total() for row in done.counts.values())
    console.print(f"{held} clips, {len(done.rejects)} rejects, {done.made} of the clips made just now")


def _best_model(root: Path, console: Console) -> LoadedModel:
    settings = PredictSettings(root=str(root))
    for name in model_names(settings.models_folder):
        show_model(settings.root, name, console)
    model = chosen_model(settings)
    console.print(f"the best is {model.name}: it is the one that predict and serve use unless told otherwise")
    return model


def _annotated(root: Path, sample: SampleIndex, model: LoadedModel, console: Console) -> Outputs:
    folder = root / "annotated"
    for name in (REAL_CLIP, SAMPLE_CLIP):
        outputs = Outputs.named(folder, Path(name).stem, "jsonl")
        if outputs.video.exists():
            console.print(f"annotated before: {outputs.video}", soft_wrap=True)
            return outputs
    console.print("fetching real clips (26 MB, once)")
    try:
        clip = real_clips()[REAL_CLIP]
        console.print(
            f"a real take of RAVDESS (CC BY-NC-SA 4.0), {clip}; the model has only ever seen the synthetic sample, "
            "so what it says of this face means nothing",
            soft_wrap=True,
        )
    except EmotionRayError as error:
        console.print(f"{error}; this time the video is a take of the synthetic sample", soft_wrap=True)
        clip = _take_of(sample)
    keep_freed_memory()
    settings = PredictSettings(root=str(root), out=str(folder), force=True)
    done, problems = predict_videos(settings, [str(clip)], model, console)
    if problems:
        raise EmotionRayError(problems[0])
    return done[0].outputs


def _take_of(sample: SampleIndex) -> Path:
    """The first actor's last take as a file of its own."""
    take = [code for code in planned_takes(sample.size) if code.actor == 1][-1]
    path = sample.folder.parent / SAMPLE_CLIP
    with zipfile.ZipFile(sample.folder / archive_name(take.actor)) as archive:
        path.write_bytes(archive.read(take.member))
    return path
