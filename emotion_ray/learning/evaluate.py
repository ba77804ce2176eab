"""Trains and tests models by a protocol, and keeps every prediction that was made on a held-out clip.

From clips to figures:

    fits = {"lstm": LoopFit("lstm", TrainSettings())}
    runs = plan(clips, list(fits), PROTOCOLS, seeds=[0, 1, 2])
    results = [evaluate_run(clips, run, fits[run.model]) for run in runs]  # in any order, on any machine
    evaluation = gather(describe(clips, "RAVDESS", synthetic=False), results)
"""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa

from emotion_ray.data import splits
from emotion_ray.data.clips import Clips
from emotion_ray.data.splits import Split
from emotion_ray.errors import EmotionRayError
from emotion_ray.learning import loop
from emotion_ray.learning.calibration import fit_temperature
from emotion_ray.learning.metrics import probabilities
from emotion_ray.learning.predict import predict
from emotion_ray.learning.predictions import PREDICTIONS, DataFacts, Evaluation
from emotion_ray.models.architectures import Classifier
from emotion_ray.settings import TrainSettings

Choice = Literal["best", "last"]
CHOICES: tuple[Choice, ...] = ("best", "last")
Labels = Literal["true", "permuted"]
DRAWS = 1000  # at most, for labels of a control that leave every class in training
RunResult = tuple[pa.Table, list[dict[str, Any]]]
"""Predictions of schema `PREDICTIONS`, and the rows of `Evaluation.history`."""


@dataclass(frozen=True)
class Fitted:
    """A model after training.

    Attributes:
        history: a record per epoch, as the loop gives it (`epochs.Epoch.record`).
        best: the epoch that validation chose, from 1.
        logits: gives float32 [n, 8] for clips at int64 [n] positions, by the weights of the best or last
            epoch.
        model: that gives them, with the weights of the choice last asked for; None where it is none of ours.
    """

    history: Sequence[Mapping[str, float]]
    best: int
    logits: Callable[[np.ndarray, Choice], np.ndarray]
    model: Classifier | None = None


class Fit(Protocol):
    """Trains one model: its weights on `train`, the choice of its epoch on `validation`, nothing on the rest.

    `labels` are int64 [N], one for each clip, and stand in place of the clips' own.
    """

    def __call__(
        self, clips: Clips, labels: np.ndarray, train: np.ndarray, validation: np.ndarray, seed: int
    ) -> Fitted: ...


@dataclass(frozen=True)
class LoopFit:
    """A `Fit` by the epoch loop, in this process.

    Attributes:
        architecture: "lstm" or "attention".
        settings: how to train; each run's seed takes the place of theirs.
        device: where.
    """

    architecture: str
    settings: TrainSettings
    device: str = "cpu"

    def __call__(
        self, clips: Clips, labels: np.ndarray, train: np.ndarray, validation: np.ndarray, seed: int
    ) -> Fitted:
        settings = replace(self.settings, seed=seed)
        parts = [replace(clips.take(part), emotion=labels[part]) for part in (train, validation)]
        model = loop.new_model(self.architecture, settings, parts[0])
        for epoch in loop.fit(model, *parts, settings, self.device):
            history, best = epoch.history, epoch.best
        weights = {"best": best.weights, "last": copy.deepcopy(model.state_dict())}

        def logits(positions: np.ndarray, choice: Choice) -> np.ndarray:
            model.load_state_dict(weights[choice])
            return predict(model, clips.take(positions), self.device, settings.mixed_precision)

        return Fitted(history, best.epoch, logits, model)


@dataclass(frozen=True, eq=False)
class Run:
    """One training: which model, on which split, from which seed, with true or permuted labels."""

    model: str
    split: Split
    seed: int
    labels: Labels = "true"

    def __str__(self) -> str:
        fold = f" fold {self.split.fold + 1}" if self.split.protocol == "actor" else ""
        control = ", labels permuted" if self.labels == "permuted" else ""
        return f"{self.model}, {self.split.protocol}{fold}, seed {self.seed}{control}"


def describe(clips: Clips, name: str, synthetic: bool) -> DataFacts:
    """The facts of clips in memory; see `DataFacts` for name and synthetic."""
    count, frames, size = clips.frames.shape[:3]
    actors = len(np.unique(clips.actor))
    prepared_with, twins = tuple(sorted(clips.prepared_with)), splits.count_twins(clips.clip_id)
    return DataFacts(name, synthetic, count, actors, frames, size, prepared_with, twins)


def plan(
    clips: Clips,
    models: Sequence[str],
    protocols: Sequence[splits.Protocol] = splits.PROTOCOLS,
    seeds: Sequence[int] = (0,),
    control: bool = True,
) -> list[Run]:
    """The trainings that an evaluation is made of; every split is checked before the first of them starts.

    Args:
        clips: only labels, actors and names are looked at.
        models: names; each is trained on the same splits.
        protocols: "random" (one training per model and seed) and "actor" (one per fold).
        seeds: of splits and of training.
        control: also train each model once per seed on permuted labels, by the first of `protocols`.

    Raises:
        EmotionRayError: nothing to do, a model named twice, or clips that can't be split so.
    """
    if not (models and protocols and seeds):
        raise EmotionRayError("nothing to evaluate: give at least one model, one protocol and one seed")
    if len(set(models)) < len(models):
        raise EmotionRayError(f"a model is named twice in {', '.join(models)}: give each a name of its own")
    cases: list[tuple[splits.Protocol, Labels]] = [(protocol, "true") for protocol in protocols]
    if control:
        cases.append((protocols[0], "permuted"))
    runs = []
    for protocol, kind in cases:
        for seed in seeds:
            labels = labels_for(clips, kind, seed, protocol)
            for split in splits.make_splits(protocol, labels, clips.actor, clips.clip_id, seed):
                runs += [Run(model, split, seed, kind) for model in models]
    return runs


def labels_for(clips: Clips, kind: Labels, seed: int, protocol: splits.Protocol) -> np.ndarray:
    """The labels of a run, int64 [N]: the clips' own, or the same ones shuffled over all clips.

    Permuted labels are permuted before the split and scored against as they are, so that what they leave of
    the accuracy is chance or leakage. They are shuffled over all clips and not within each actor: there, what
    a model learnt of an actor's training clips would tell which labels the other clips cannot have. Of few clips,
    an order that leaves some training part without a class is drawn again, which no picture has a part in.

    Raises:
        EmotionRayError: there is hardly an order that does not.
    """
    if kind == "true":
        return clips.emotion
    random = np.random.default_rng(seed)
    for _ in range(DRAWS):
        labels = random.permutation(clips.emotion)
        with suppress(EmotionRayError):
            splits.make_splits(protocol, labels, clips.actor, clips.clip_id, seed)
            return labels
    raise EmotionRayError(
        f"no order of the labels of so few clips leaves all classes in training by the {protocol} protocol, as the "
        "control needs: give --no-control, or prepare more takes"
    )


def evaluate_run(clips: Clips, run: Run, fit: Fit) -> RunResult:
    """Trains one model and predicts its test clips by the best and by the last epoch.

    Raises:
        EmotionRayError: what `fit` raises, or a logit that is not finite.
    """
    labels, split = labels_for(clips, run.labels, run.seed, run.split.protocol), run.split
    fitted = fit(clips, labels, split.train, split.validation, run.seed)
    facts: dict[str, Any] = {
        "model": run.model,
        "protocol": split.protocol,
        "fold": split.fold,
        "seed": run.seed,
    }
    facts["labels"] = run.labels
    tables = []
    for choice in CHOICES:
        logits = fitted.logits(split.test, choice)
        validation = logits if split.selected_on_test else fitted.logits(split.validation, choice)
        if not (np.isfinite(logits).all() and np.isfinite(validation).all()):
            raise EmotionRayError(f"{run}: the predictions are not finite; lower the learning rate")
        temperature = fit_temperature(validation, labels[split.validation])
        epoch = len(fitted.history) if choice == "last" else fitted.best
        constant = facts | {"choice": choice, "epoch": epoch, "temperature": temperature}
        tables.append(predictions_of(clips, split.test, labels, logits, constant))
    history = [facts | {"epoch": epoch} | dict(record) for epoch, record in enumerate(fitted.history, 1)]
    return pa.concat_tables(tables), history


def predictions_of(
    clips: Clips, positions: np.ndarray, labels: np.ndarray, logits: np.ndarray, constant: Mapping[str, Any]
) -> pa.Table:
    """A table of schema `PREDICTIONS` of one model's answers.

    Args:
        clips: all of them.
        positions: int64 [n], of those that were predicted.
        labels: int64 [N], what all are scored against.
        logits: float [n, 8].
        constant: the columns that are the same in every row, `temperature` among them.
    """
    columns: dict[str, Any] = {name: [value] * len(logits) for name, value in constant.items()}
    columns["clip_id"] = [clips.clip_id[position] for position in positions]
    columns["actor"] = clips.actor[positions]
    columns["emotion"] = labels[positions]
    columns["logits"] = list(logits.astype(np.float32))
    columns["probs"] = list(probabilities(logits, constant["temperature"]).astype(np.float32))
    return pa.table([pa.array(columns[field.name], field.type) for field in PREDICTIONS], schema=PREDICTIONS)


def gather(data: DataFacts, results: Iterable[RunResult]) -> Evaluation:
    """Puts the results of runs together, in their order; at least one."""
    tables, histories = zip(*results, strict=True)
    return Evaluation(data, pa.concat_tables(tables), [row for history in histories for row in history])
