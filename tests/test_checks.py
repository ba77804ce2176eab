from dataclasses import dataclass
from typing import Literal

import pytest

from emotion_ray.errors import EmotionRayError
from emotion_ray.settings import check_choices, check_numbers


@dataclass(frozen=True)
class Some:
    share: float = 0.5
    workers: int | None = None
    seconds: float | None = None
    kind: Literal["a", "b"] = "a"
    other: Literal["a", "b"] | None = None
    yes: bool = False
    name: str | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self):
        check_numbers(self, share=(0, 1), workers=(1, 9), seconds=(1, 9))
        check_choices(self)


def test_what_is_of_its_kind_passes():
    Some(share=1, workers=9, seconds=2.5, kind="b", other="b", yes=True, name="any", names=("any",))
    Some(workers=None, seconds=None, other=None, name=None)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"workers": 2.5}, "workers is 2.5: give a whole number from 1 to 9"),
        ({"workers": True}, "workers is True: give a whole number from 1 to 9"),
        ({"seconds": 10}, "seconds is 10: give a number from 1 to 9"),
        ({"share": None}, "share is None: give a number from 0 to 1"),
        ({"share": float("nan")}, "share is nan: give a number from 0 to 1"),
        ({"kind": None}, "kind is None: give one of a, b"),
        ({"other": "c"}, "other is 'c': give one of a, b, None"),
        ({"yes": 1}, "yes is 1: give one of False, True"),
    ],
)
def test_what_is_not_is_refused(wrong, message):
    with pytest.raises(EmotionRayError) as caught:
        Some(**wrong)
    assert str(caught.value) == message
