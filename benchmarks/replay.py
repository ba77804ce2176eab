"""What ASHA would have done with trainings of which every epoch is known: a sweep without training.

All that is random in a trial follows from its settings and the sweep's seed, and random search draws the same settings
whatever came of the trials before. So a sweep that stops trials trains the very trials of one that does not, each up
to some epoch; up to which one follows from the order in which the epochs end. Here they end after as many seconds as
were measured in the sweep without stopping, as many trials at a time, and the scheduler that a sweep uses is asked
after each. What is not in the measured seconds is the writing of checkpoints.
"""

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace

from optuna.samplers import RandomSampler
from ray.tune.schedulers import TrialScheduler

from emotion_ray.distributed.search_space import Config
from emotion_ray.distributed.sweep import Deadline, Search, SparingASHA, default_grace
from emotion_ray.distributed.worker_group import epoch_report
from emotion_ray.learning.resumable import History


@dataclass(frozen=True)
class Recorded:
    """A trial that nothing stopped: its settings and the records of all its epochs."""

    config: Config
    history: History


def drawn(architecture: str, trials: int, seed: int) -> list[Config]:
    """The settings of a random search's trials, in the order in which they begin."""
    search = Search(architecture, 1, RandomSampler(seed=seed), Deadline(None))
    return [search.suggest(str(number)) for number in range(trials)]


def replayed(architecture: str, epochs: int, trials: Sequence[Recorded], at_once: int) -> list[int]:
    """How many epochs of each trial a sweep with ASHA would have run.

    Args:
        architecture: "lstm" or "attention".
        epochs: of a trial that nothing stops.
        trials: in the order in which they begin.
        at_once: trials at a time.
    """
    asha = SparingASHA(architecture, epochs, default_grace(architecture))
    as_ray = [SimpleNamespace(trial_id=str(number), config=trial.config) for number, trial in enumerate(trials)]
    ran = [0] * len(trials)
    waiting = deque(number for number, trial in enumerate(trials) if trial.history)
    reports: list[tuple[float, int]] = []  # when a trial tells of its next epoch, and its number

    def train(number: int, now: float) -> None:
        record = trials[number].history[ran[number]]
        heapq.heappush(reports, (now + record["train_seconds"] + record["val_seconds"], number))

    def begin(now: float) -> None:
        if waiting:
            number = waiting.popleft()
            asha.on_trial_add(None, as_ray[number])
            train(number, now)

    for _ in range(at_once):
        begin(0.0)
    while reports:
        now, number = heapq.heappop(reports)
        history = trials[number].history
        ran[number] += 1
        decision = asha.on_trial_result(None, as_ray[number], epoch_report(history[: ran[number]]))
        if decision == TrialScheduler.STOP or ran[number] == len(history):
            begin(now)
        else:
            train(number, now)
    return ran
