"""Stand-ins for jobs behind the command line: a test of its flags runs none."""

import sys
from types import ModuleType


def stand_in(monkeypatch, calls: list, package: str, command: str, result: object) -> None:
    """Puts a function in the place of `emotion_ray.<package>.<command>.<command>`, as that of a library that talks.

    Args:
        calls: gets the settings of each call.
        result: what it returns.
    """

    def work(settings, console):
        calls.append(settings)
        console.print("progress")
        print("talk of a library")
        return result

    module = ModuleType(f"emotion_ray.{package}.{command}")
    setattr(module, command, work)
    monkeypatch.setitem(sys.modules, module.__name__, module)
