"""Which models a run makes, what they are called in the store, and which of them are there already."""

from emotion_ray.data.storage import Folder
from emotion_ray.errors import EmotionRayError
from emotion_ray.learning.history import CHECKPOINT
from emotion_ray.learning.run_folder import RunFolder
from emotion_ray.models.store import check_name, has_model, read_record
from emotion_ray.settings import TrainRunSettings, TuneSettings


def architectures(model: str) -> list[str]:
    """The classifiers that a `model` setting asks for."""
    return ["lstm", "attention"] if model == "both" else [model]


def names_of_models(run: str, model: str) -> dict[str, str]:
    """By architecture, the name that a model of a run gets in the store."""
    wanted = architectures(model)
    return {one: run if len(wanted) == 1 else f"{run}-{one}" for one in wanted}


def models_left(run: RunFolder, settings: TrainRunSettings | TuneSettings) -> dict[str, str]:
    """By architecture, the names of the models that the run has still to make.

    Raises:
        EmotionRayError: a name is too long for the store, or another run's model has it.
    """
    store, left = f"{settings.root}/models", {}
    for architecture, name in names_of_models(run.name, settings.model).items():
        check_name(name)
        if name in run.models:
            continue
        if not has_model(store, name):
            left[architecture] = name
        elif settings.resume and read_record(store, name).created >= str(run.record.get("began")):
            finish(run, settings, architecture)  # it was cut off between the store and its own record
        else:
            raise EmotionRayError(f"there is a model {name} in {store}: give another --run")
    return left


def finish(run: RunFolder, settings: TrainRunSettings | TuneSettings, architecture: str) -> None:
    """Removes the checkpoints of a model that is in the store (51 MB and more each), and notes that it is there.

    With the last of its models the run is complete.
    """
    folder = Folder.at(run.path(architecture))
    for checkpoint in folder.names(CHECKPOINT):
        folder.remove(checkpoint)
    names = names_of_models(run.name, settings.model)
    models = [*run.models, names[architecture]]
    run.note(models=models, complete=set(models) == set(names.values()))
