"""The clips of the synthetic sample, made by the job as those of RAVDESS are."""

from pathlib import Path

from rich.console import Console

from emotion_ray.distributed.prepare import prepare
from emotion_ray.sample import build_sample
from emotion_ray.sample.mirror import mirror
from emotion_ray.settings import PrepareSettings


def sample_clips(root: Path, size: str, console: Console) -> int:
    """Renders the sample and prepares its clips under ROOT/clips, where that is not done; gives their number."""
    sample = build_sample(root / "sample", size)
    with mirror(sample.folder) as address:
        settings = PrepareSettings(base_url=address, actors=f"1-{len(sample.files)}", root=str(root))
        counts = prepare(settings, console).counts
    return sum(by_emotion.total() for by_emotion in counts.values())
