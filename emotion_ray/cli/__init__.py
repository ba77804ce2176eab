"""The command line: `emotion-ray COMMAND …`, each command made from a settings dataclass; jobs/ are doors to it."""

import sys
from collections.abc import Sequence

import tyro

from emotion_ray.cli.clips import demo, export, prepare
from emotion_ray.cli.learning import evaluate, train, tune
from emotion_ray.errors import EmotionRayError

STOPPED = 130  # what a shell expects after Ctrl-C


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and gives its exit code: 0 done, 1 can't be done, 2 wrong flags, 130 stopped by Ctrl-C."""
    try:
        tyro.extras.subcommand_cli_from_dict(
            {one.__name__: one for one in (prepare, export, demo, train, tune, evaluate)},
            prog="emotion-ray",
            description="Facial emotion recognition from video on Ray.",
            args=sys.argv[1:] if arguments is None else arguments,
            config=(tyro.conf.FlagCreatePairsOff,),
        )
    except EmotionRayError as error:
        print(f"emotion-ray: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("emotion-ray: stopped; the same command goes on from here", file=sys.stderr)
        return STOPPED
    return 0
