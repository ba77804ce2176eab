"""The commands that do the whole job at once: demo on the synthetic sample, reproduce on RAVDESS."""

from pathlib import Path

from emotion_ray.cli.output import Flat, console_for, print_json, results_of, without_talk
from emotion_ray.settings import ReproduceSettings, check_on_disk, demo_root


def demo(root: str | None = None, json: bool = False) -> None:
    """The whole job on the synthetic sample, on this machine, in some minutes; no network needed.

    Examples: `emotion-ray demo`, `emotion-ray demo --root demo/`.

    Args:
        root: folder under which everything is made. Default: demo under `$EMOTION_RAY_HOME` or `~/emotion_ray`.
        json: print what was made as JSON.
    """
    from emotion_ray.walkthrough.demo import demo as run
    from emotion_ray.walkthrough.stages import show_made

    folder = root or demo_root()
    check_on_disk("--root", folder)
    console = console_for(json)
    with without_talk(json):
        made = run(Path(folder), console)
    if json:
        print_json(made={one.what: one.path for one in made})
    show_made(made, console)
    console.print("the same with the real data: emotion-ray reproduce --actors 1-10", soft_wrap=True)


def reproduce(settings: Flat[ReproduceSettings], json: bool = False) -> None:
    """The baseline's results on RAVDESS: downloads, prepares, trains, tunes, evaluates and reports.

    Says first how long that takes. Stopped at any moment, the same command goes on.

    Examples: `emotion-ray reproduce --actors 1-10`, `emotion-ray reproduce --actors 1-24 --trials 40 --yes`.

    Args:
        settings: of what, and how long.
        json: print the figures and what was made as JSON.
    """
    from emotion_ray.walkthrough.reproduce import reproduce as run
    from emotion_ray.walkthrough.stages import show_made

    console = console_for(json)
    with without_talk(json):
        done = run(settings, console)
    if json:
        print_json(
            data=done.data.label,
            comparable=done.as_the_baseline,
            published=done.published,
            results=results_of(done.summaries),
            made={one.what: one.path for one in done.made},
        )
    console.print(done.table())
    console.print(done.in_words(), soft_wrap=True)
    show_made(done.made, console)
