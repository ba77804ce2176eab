"""What all settings share: the refusal of values that make no sense, and the folder that all is under."""

import os
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

from emotion_ray.errors import EmotionRayError


def default_root() -> str:
    """The folder under which everything is made: `$EMOTION_RAY_HOME`, else `~/emotion_ray`."""
    root = os.environ.get("EMOTION_RAY_HOME") or "~/emotion_ray"
    return root if "://" in root else str(home_filled_in(root))


def demo_root() -> str:
    """The folder under which the demo makes everything, unless told otherwise."""
    return f"{default_root()}/demo"


def home_filled_in(path: str | Path) -> Path:
    """A path on a disk, with the folder that its `~` or `~name` stands for.

    Raises:
        EmotionRayError: there is no user of that name.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise EmotionRayError(f"{path}: there is no user of that name here; write the folder out") from None


def check_on_disk(flag: str, folder: str) -> None:
    """Refuses, untold since it may hold a password, the address of a folder that must be on a disk."""
    if "://" in folder:
        raise EmotionRayError(f"{flag} is an address: give a folder on a disk")


def check_address(flag: str, address: str) -> None:
    """Refuses, untold since it may hold a password, an address that can't be taken apart."""
    try:
        urlsplit(address).port  # noqa: B018 - it is looked at here
    except ValueError:
        raise EmotionRayError(f"{flag} is malformed: give an address such as https://zenodo.org") from None


def check_numbers(settings: object, **limits: tuple[float, float]) -> None:
    """Refuses fields that are no number of the kind they are declared as, or outside `(low, high)`."""
    hints = get_type_hints(type(settings))
    for name, (low, high) in limits.items():
        value, kinds = getattr(settings, name), get_args(hints[name]) or (hints[name],)
        if value is None and NoneType in kinds:
            continue
        whole = float not in kinds
        right = isinstance(value, int) if whole else isinstance(value, (int, float))
        if isinstance(value, bool) or not right or not low <= value <= high:
            expected = "a whole number" if whole else "a number"
            raise EmotionRayError(f"{name} is {value!r:.80}: give {expected} from {low:g} to {high:g}")


def check_choices(settings: object) -> None:
    """Refuses fields declared as `bool` or `Literal` that are none of their choices."""
    for name, hint in get_type_hints(type(settings)).items():
        value, allowed = getattr(settings, name), _choices(hint)
        if allowed and not any(value is choice or (isinstance(value, str) and value == choice) for choice in allowed):
            raise EmotionRayError(f"{name} is {value!r:.80}: give one of {', '.join(map(str, allowed))}")


def _choices(hint: Any) -> tuple[object, ...]:
    """Of a field declared as `hint`; empty where it is no choice."""
    if hint is bool:
        return (False, True)
    parts = get_args(hint)
    if get_origin(hint) is Literal:
        return parts
    found = _choices(parts[0]) if NoneType in parts else ()
    return (*found, None) if found else ()
