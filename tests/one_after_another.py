"""A whole evaluation in this process."""

from collections.abc import Mapping, Sequence

from emotion_ray.data.clips import Clips
from emotion_ray.data.splits import PROTOCOLS, Protocol
from emotion_ray.learning.evaluate import Fit, evaluate_run, gather, plan
from emotion_ray.learning.predictions import DataFacts, Evaluation


def evaluate(
    clips: Clips,
    data: DataFacts,
    fits: Mapping[str, Fit],
    protocols: Sequence[Protocol] = PROTOCOLS,
    seeds: Sequence[int] = (0,),
    control: bool = True,
) -> Evaluation:
    """Plans, trains and gathers, one run after another."""
    runs = plan(clips, list(fits), protocols, seeds, control)
    return gather(data, [evaluate_run(clips, run, fits[run.model]) for run in runs])
