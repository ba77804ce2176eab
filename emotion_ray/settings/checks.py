"""What all settings share: the refusal of values that make no sense, and the folder that all is under."""

import os
from pathlib import Path

from emotion_ray.errors import EmotionRayError


def default_root() -> str:
    """The folder under which everything is made: `$EMOTION_RAY_HOME`, else `~/emotion_ray`."""
    return os.environ.get("EMOTION_RAY_HOME") or str(Path.home() / "emotion_ray")


def check_on_disk(flag: str, folder: str) -> None:
    """Refuses, untold since it may hold a password, the address of a folder that must be on a disk."""
    if "://" in folder:
        raise EmotionRayError(f"{flag} is an address: give a folder on a disk")


def check_numbers(settings: object, **limits: tuple[float, float]) -> None:
    """Refuses fields that are no number of the kind of their default, or outside `(low, high)`."""
    for name, (low, high) in limits.items():
        value = getattr(settings, name)
        whole = isinstance(getattr(type(settings), name), int)
        kind = isinstance(value, int) if whole else isinstance(value, (int, float))
        if isinstance(value, bool) or not kind or not low <= value <= high:
            expected = "a whole number" if whole else "a number"
            raise EmotionRayError(f"{name} is {value!r:.80}: give {expected} from {low:g} to {high:g}")


def check_choices(settings: object, **choices: tuple[object, ...]) -> None:
    """Refuses fields that are none of the choices given for them."""
    for name, allowed in choices.items():
        value = getattr(settings, name)
        if not any(value is choice or (isinstance(value, str) and value == choice) for choice in allowed):
            raise EmotionRayError(f"{name} is {value!r:.80}: give one of {', '.join(map(str, allowed))}")
