"""Train: from clips to a stored model, in this process or by several workers on Ray Train."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import ray
import torch
from rich.console import Console

from emotion_ray.allocator import keep_freed_memory
from emotion_ray.data.clips import Clips, read_clips
from emotion_ray.data.provenance import read_provenance
from emotion_ray.data.splits import one_split
from emotion_ray.data.storage import Folder
from emotion_ray.distributed.cluster import connected, starts_here
from emotion_ray.distributed.preflight import Machine, Need, this_machine, worker_need
from emotion_ray.distributed.shared_folder import check_shared
from emotion_ray.errors import EmotionRayError
from emotion_ray.learning.history import read_history
from emotion_ray.learning.resumable import History, train_resumably
from emotion_ray.learning.run_folder import open_run
from emotion_ray.learning.run_models import finish, models_left
from emotion_ray.learning.summaries import Summary
from emotion_ray.learning.trained import Trained, store_model
from emotion_ray.settings import TrainRunSettings

POLL_S = 0.5


@dataclass(frozen=True, eq=False)
class StoredModel:
    """A model that a run put into the store.

    Attributes:
        name: in the store; folder: there, a path or URI.
        data: what its clips are of, see `Provenance.label`.
        summary: what it can do on its test clips.
        trained: how it was trained.
    """

    name: str
    folder: str
    data: str
    summary: Summary
    trained: Trained


def train(settings: TrainRunSettings, console: Console) -> list[StoredModel]:
    """Trains a model, or both one after the other, and puts each into the store under ROOT/models.

    One worker where no cluster is there trains in this process, without Ray. Killed at any moment and called
    again with `resume`, it goes on from the last epoch.

    Raises:
        EmotionRayError: what was asked for can't run here, or can't be trained; the message says why.
    """
    run, settings = open_run("train", settings)
    if settings.training.batch % settings.workers:
        raise EmotionRayError(
            f"{settings.workers} workers can't share a batch of {settings.batch} evenly: "
            f"give --batch as a multiple of {settings.workers}, or other --workers"
        )
    here = starts_here()
    if here:
        need = _need(settings, [this_machine()])
    clips = read_clips(Folder.at(settings.clips_folder))
    split = one_split(settings.protocol, clips.emotion, clips.actor, clips.clip_id, settings.seed, settings.fold)
    data = read_provenance(Folder.at(settings.clips_folder))
    store = f"{settings.root}/models"
    names = models_left(run, settings)
    if not names:
        console.print(f"run {run.name}: its models are in the store already", soft_wrap=True)
        return []

    def store_what_came_of(architecture: str) -> StoredModel:
        trained = Trained.read(run.path(architecture), architecture, settings.training)
        name = names[architecture]
        summary = store_model(store, name, trained, clips, split, data)
        finish(run, settings, architecture)
        return StoredModel(name, f"{store}/{name}", data.label, summary, trained)

    parts = clips.take(split.train), clips.take(split.validation)
    stored = []
    if here and settings.workers == 1:
        run.begin(clips)
        for architecture in names:
            _train_alone(run.path(architecture), architecture, *parts, settings, need, _announcer(console, settings))
            stored.append(store_what_came_of(architecture))
    else:
        with connected() as place:
            need = _need(settings, place.machines)
            check_shared(run.path())
            run.begin(clips)
            console.print(f"training on {place}: {settings.workers} x {need}", soft_wrap=True)
            references = [ray.put(part) for part in parts]
            for architecture in names:
                with _followed(run.path(architecture), _announcer(console, settings)):
                    _train_together(run.path(architecture), architecture, *references, settings, need)
                stored.append(store_what_came_of(architecture))
    return stored


def _need(settings: TrainRunSettings, machines: list[Machine] | tuple[Machine, ...]) -> Need:
    return worker_need(settings.workers, settings.device, settings.cpus_per_worker, settings.gpus_per_worker, machines)


def _train_alone(
    folder: str,
    architecture: str,
    train: Clips,
    validation: Clips,
    settings: TrainRunSettings,
    need: Need,
    announce: Callable[[History], None],
) -> None:
    keep_freed_memory()
    torch.set_num_threads(need.threads)
    for history in train_resumably(
        folder, architecture, train, validation, settings.training, need.device, tensorboard=True
    ):
        announce(history)


def _train_together(
    folder: str,
    architecture: str,
    train: "ray.ObjectRef[Clips]",
    validation: "ray.ObjectRef[Clips]",
    settings: TrainRunSettings,
    need: Need,
) -> None:
    from emotion_ray.distributed.worker_group import Together, train_together  # Ray Train takes a second to import

    task = Together(folder, architecture, settings.training, train, validation, need.threads, tensorboard=True)
    train_together(task, settings.workers, need, settings.max_failures, name="ray")


@contextmanager
def _followed(folder: str, announce: Callable[[History], None]) -> Iterator[None]:
    """Announces, while the block runs, what the workers write into the history."""
    done = threading.Event()

    def follow() -> None:
        ended = False
        while not ended:
            ended = done.wait(POLL_S)
            with suppress(EmotionRayError, OSError):  # a store that does not answer now may do so at the next look
                announce(read_history(folder))

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _announcer(console: Console, settings: TrainRunSettings) -> Callable[[History], None]:
    """A function that prints a line for each epoch of a history that it has not printed yet."""
    told = 0

    def announce(history: History) -> None:
        nonlocal told
        for record in history[told:]:
            console.print(
                f"epoch {record['epoch']}/{settings.epochs}: training loss {record['train_loss']:.3f}, "
                f"accuracy {record['train_accuracy']:.1%}; validation loss {record['val_loss']:.3f}, "
                f"UAR {record['val_uar']:.1%}; {record['train_seconds'] + record['val_seconds']:.1f} s",
                soft_wrap=True,
            )
        told = max(told, len(history))

    return announce
