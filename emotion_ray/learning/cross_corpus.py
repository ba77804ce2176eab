"""Stored models tested as they are on data or actors that they do not know: nothing is trained, chosen or fitted."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from rich.console import Console

from emotion_ray.allocator import keep_freed_memory
from emotion_ray.data.clips import Clips, read_clips
from emotion_ray.data.provenance import read_provenance
from emotion_ray.data.ravdess import EMOTIONS
from emotion_ray.data.storage import Folder
from emotion_ray.errors import EmotionRayError
from emotion_ray.learning.evaluate import describe, predictions_of
from emotion_ray.learning.predict import predict
from emotion_ray.learning.predictions import DataFacts, Evaluation
from emotion_ray.learning.report import write_report
from emotion_ray.learning.run_folder import RunFolder
from emotion_ray.models.record import ModelRecord
from emotion_ray.models.store import LoadedModel, load_stored
from emotion_ray.settings import EvaluateSettings

UNNAMED = "unknown data"


def evaluate_stored(
    run: RunFolder, settings: EvaluateSettings, device: str, console: Console
) -> tuple[Path, Evaluation]:
    """Tests the models `settings.stored` on all clips and writes the report into the run's folder, on a disk.

    Args:
        device: "cpu" or "cuda".

    Returns:
        the path of the report, and what it is of.

    Raises:
        EmotionRayError: a model that is not there, or that was trained on these data or on clips of another form.
    """
    if len(set(settings.stored)) < len(settings.stored):
        raise EmotionRayError(f"a model is named twice in {', '.join(settings.stored)}: name each once")
    keep_freed_memory()
    models = [load_stored(f"{settings.root}/models", name) for name in settings.stored]
    folder = Folder.at(settings.clips_folder)
    clips, provenance = read_clips(folder), read_provenance(folder)
    data = describe(clips, provenance.name, provenance.synthetic)
    for model in models:
        check_other_data(model, clips, data)
    run.begin(clips)
    tables = []
    for model in models:
        console.print(f"{model.name}: tested as it is on {data.label}, {len(clips)} clips", soft_wrap=True)
        tables.append(tested(model, clips, device))
    trained_on = {model.name: training_in_words(model.record, clips.prepared_with) for model in models}
    evaluation = Evaluation(data, pa.concat_tables(tables), [], trained_on)
    title = f"{', '.join(settings.stored)}, tested without training"
    report = write_report(Path(run.path()), evaluation, title)
    run.note(complete=True)
    return report, evaluation


def check_other_data(model: LoadedModel, clips: Clips, data: DataFacts) -> None:
    """Makes sure that figures of a model on these clips would say something.

    They don't where it knows one of the clips, by name, from its training or the choice of its epoch, or where data
    of the same name have an actor that it knows. A model whose record tells nothing of it is taken at its word.

    Raises:
        EmotionRayError: the data are those of its training, or its clips or labels are of another form.
    """
    record, name = model.record, model.name
    form, wanted = clips.frames.shape[1:3], (record.frames, record.size)
    if form != wanted:
        raise EmotionRayError(
            f"model {name} takes clips of {wanted[0]} frames of {wanted[1]}x{wanted[1]} px and these have "
            f"{form[0]} of {form[1]}x{form[1]}: prepare them with --frames {wanted[0]} --size {wanted[1]}"
        )
    if record.labels != EMOTIONS:
        raise EmotionRayError(
            f"model {name} tells other emotions ({', '.join(record.labels)}): it can't be scored here"
        )
    known = {clip_id for part in ("train", "validation") for clip_id in record.split.get(part, [])}
    both = known.intersection(clips.clip_id)
    same_name = data.name != UNNAMED and (data.name, data.synthetic) == _named(record)
    if both or (same_name and not _unseen(record, clips)):
        why = f"{len(both)} of these clips" if both else f"other clips of {data.label}, maybe of the same actors"
        raise EmotionRayError(
            f"model {name} was trained on {why}: such figures are worthless; give other --clips, or --tuned {name}, "
            "which trains it anew on every split"
        )


def tested(model: LoadedModel, clips: Clips, device: str = "cpu") -> pa.Table:
    """A model's answers on all clips, of schema `PREDICTIONS`; its temperature is the one it was stored with.

    Raises:
        EmotionRayError: a logit is not finite.
    """
    record = model.record
    logits = predict(model.model.to(device), clips, device)
    if not np.isfinite(logits).all():
        raise EmotionRayError(f"the predictions of model {model.name} are not finite: train it anew")
    epoch = record.metrics.get("epoch")
    constant = {
        "protocol": "stored",
        "fold": 0,
        "seed": record.seed,
        "model": model.name,
        "labels": "true",
        "choice": "best",
        "epoch": epoch if isinstance(epoch, int) else None,
        "temperature": record.temperature,
    }
    return predictions_of(clips, np.arange(len(clips)), clips.emotion, logits, constant)


def training_in_words(record: ModelRecord, prepared_with: frozenset[str]) -> str:
    """On what a model was trained, by which protocol, and whether its clips were prepared as those with these marks."""
    words = f"trained on {record.data_label} by {record.protocol or 'a protocol that its record does not tell'}"
    if record.data_label == UNNAMED and not record.split:
        words += ", so whether these clips are among those is not known"
    if record.prepared_with and not prepared_with <= set(record.prepared_with):
        words += ". Its own clips were prepared otherwise, or by another release"
    return words


def _unseen(record: ModelRecord, clips: Clips) -> bool:
    """Whether the record tells all actors that the model knows, and none of them is in the clips."""
    known = record.data.get("seen_actors")
    return isinstance(known, list) and bool(known) and not np.isin(clips.actor, known).any()


def _named(record: ModelRecord) -> tuple[str, bool]:
    name = record.data.get("name")
    return (name if isinstance(name, str) else UNNAMED), bool(record.data.get("synthetic"))
