"""The command line: `emotion-ray COMMAND …`, each command made from a settings dataclass; jobs/ are doors to it."""

import os
import sys
from collections.abc import Sequence

import tyro

from emotion_ray.cli.clips import export, prepare
from emotion_ray.cli.doctor import doctor
from emotion_ray.cli.learning import evaluate, train, tune
from emotion_ray.cli.predicting import predict
from emotion_ray.cli.serving import serve
from emotion_ray.cli.walkthrough import demo, reproduce
from emotion_ray.errors import EmotionRayError, Stopped

UNREAD = 141  # what a shell expects of a command whose output nobody reads any more


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and gives its exit code: 0 done, 1 can't be done, 2 wrong flags, 130 stopped by Ctrl-C.

    In `emotion-ray … | head` it ends with `head`, quietly.
    """
    try:
        try:
            return _run(arguments)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # else Python does it at its end, and complains
    except BrokenPipeError:
        _write_no_more()
        return UNREAD
    except OSError as error:
        if _can_be_written():
            raise
        _write_no_more()
        print(f"emotion-ray: the output can't be written ({error.strerror or error})", file=sys.stderr)
        return EmotionRayError.exit_code


def _can_be_written() -> bool:
    """Whether what is printed arrives, found out by an empty line."""
    try:
        print(flush=True)
    except OSError:
        return False
    return True


def _write_no_more() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(arguments: Sequence[str] | None) -> int:
    commands = (demo, reproduce, prepare, export, train, tune, evaluate, predict, serve, doctor)
    try:
        tyro.extras.subcommand_cli_from_dict(
            {one.__name__: one for one in commands},
            prog="emotion-ray",
            description="Facial emotion recognition from video on Ray.",
            args=sys.argv[1:] if arguments is None else arguments,
            config=(tyro.conf.FlagCreatePairsOff,),
        )
    except EmotionRayError as error:
        print(f"emotion-ray: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        if error.filename is None or isinstance(error, BrokenPipeError):
            raise
        print(f"emotion-ray: {error.filename}: {error.strerror}; check the path and who may read it", file=sys.stderr)
        return EmotionRayError.exit_code
    except KeyboardInterrupt:
        print("emotion-ray: stopped; run the same command again", file=sys.stderr)
        return Stopped.exit_code
    return 0
