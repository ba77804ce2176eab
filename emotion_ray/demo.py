"""The demo: the synthetic sample through the whole job on this machine, no network needed."""

from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from emotion_ray.distributed.prepare import Preparation, prepare
from emotion_ray.sample import SIZES, build_sample
from emotion_ray.sample.mirror import mirror
from emotion_ray.settings import PrepareSettings


def demo(root: Path, console: Console, size: str = SIZES[0]) -> Preparation:
    """Renders the sample's archives, serves them as Zenodo does, and prepares clips of them.

    What is there from an earlier run is not made again.

    Args:
        root: folder under which everything is made.

    Raises:
        EmotionRayError: the folder can't be written, or no clips can be made.
    """
    with Progress(console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("rendering the synthetic sample", total=None)
        sample = build_sample(
            root / "sample", size, progress=lambda done, total: progress.update(bar, completed=done, total=total)
        )
    console.print(f"synthetic sample: {len(sample.files)} archives in {sample.folder}", soft_wrap=True)
    with mirror(sample.folder) as address:
        actors = f"1-{len(sample.files)}"
        return prepare(PrepareSettings(base_url=address, actors=actors, root=str(root)), console)
