"""Which takes the sample holds: a valid, balanced part of RAVDESS's."""

from typing import Literal, get_args

from emotion_ray.data.ravdess import EMOTIONS, Code

Size = Literal["demo", "full"]
SIZES: tuple[Size, ...] = get_args(Size)
_ACTORS = {"demo": 4, "full": 8}


def planned_takes(size: Size) -> list[Code]:
    """The takes of a sample, by actor: all with sound, all speech.

    demo: 4 actors of 16 takes, 2 of each emotion. full: 8 actors of 30 takes, 4 of each emotion but 3 of two
    of them, other ones from actor to actor; 32 neutral takes and 29 or 30 of any other emotion. Half of the
    takes of an emotion are of strong intensity, which neutral does not have.
    """
    return [
        Code(1, 1, emotion, *variant, actor)
        for actor in range(1, _ACTORS[size] + 1)
        for emotion in range(len(EMOTIONS))
        for variant in _variants(size, actor, emotion)
    ]


def _variants(size: Size, actor: int, emotion: int) -> list[tuple[int, int, int]]:
    """Intensity, statement and repetition of an actor's takes of one emotion."""
    other = 1 + (actor + emotion) % 2  # a statement or repetition, so that neither is bound to an emotion
    if size == "demo":
        return [(1, 1, other), (1, 2, other)] if emotion == 0 else [(1, other, 1), (2, 3 - other, 1)]
    if emotion == 0:
        return [(1, statement, repetition) for statement in (1, 2) for repetition in (1, 2)]
    takes = [(intensity, statement, other) for intensity in (1, 2) for statement in (1, 2)]
    if (emotion - 1 - 2 * actor) % (len(EMOTIONS) - 1) < 2:
        del takes[actor % 4]
    return takes
