"""RAVDESS's facts: the file-name code, the archives at Zenodo, the actor folds.

Livingstone SR, Russo FA (2018), "The Ryerson Audio-Visual Database of Emotional Speech and Song",
https://doi.org/10.5281/zenodo.1188976 (v1.0.0, CC BY-NC-SA 4.0).
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

from emotion_ray.data.archives import Archive
from emotion_ray.errors import EmotionRayError
from emotion_ray.settings.prepare import BASE_URL

EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
"""The labels 0..7, in the order of the file-name codes 01..08."""

ACTORS = tuple(range(1, 25))
RECORD = 1188976

_CODE = re.compile(r"(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)", re.ASCII)


@dataclass(frozen=True)
class Code:
    """The seven fields of a RAVDESS file name, `MM-CC-EE-II-SS-RR-AA`.

    Attributes:
        modality: 1 audio and video, 2 video only, 3 audio only.
        channel: 1 speech, 2 song.
        emotion: 0..7, an index into `EMOTIONS` (the code in the name is one more).
        intensity: 1 normal, 2 strong.
        statement: 1 "Kids are talking by the door", 2 "Dogs are sitting by the door".
        repetition: 1 or 2.
        actor: 1..24; odd ones are male, even ones female.
    """

    modality: int
    channel: int
    emotion: int
    intensity: int
    statement: int
    repetition: int
    actor: int

    def __post_init__(self):
        for field, (low, high) in _RANGES.items():
            value = getattr(self, field)
            if not low <= value <= high:
                raise ValueError(f"{field} is {value}, expected {low} to {high}")
        if self.emotion == 0 and self.intensity == 2:
            raise ValueError("neutral has no strong intensity")

    @classmethod
    def parse(cls, name: str) -> "Code":
        """Reads a code from a file name, with or without folder and suffix.

        Raises:
            ValueError: the name is no RAVDESS code; the message says which part is wrong.
        """
        stem = name.rsplit("/", 1)[-1].split(".", 1)[0]
        match = _CODE.fullmatch(stem)
        if not match:
            raise ValueError(f"{stem!r} is not a RAVDESS name like 01-01-05-01-02-02-07")
        fields = [int(group) for group in match.groups()]
        if not 1 <= fields[2] <= len(EMOTIONS):
            raise ValueError(f"{stem!r}: emotion is {fields[2]}, expected 1 to {len(EMOTIONS)}")
        fields[2] -= 1
        try:
            return cls(*fields)
        except ValueError as error:
            raise ValueError(f"{stem!r}: {error}") from None

    @property
    def clip_id(self) -> str:
        fields = (self.modality, self.channel, self.emotion + 1, self.intensity)
        fields += (self.statement, self.repetition, self.actor)
        return "-".join(f"{field:02d}" for field in fields)

    @property
    def member(self) -> str:
        """The member's name in the actor's archive."""
        return f"Actor_{self.actor:02d}/{self.clip_id}.mp4"


_RANGES = {
    "modality": (1, 3),
    "channel": (1, 2),
    "emotion": (0, 7),
    "intensity": (1, 2),
    "statement": (1, 2),
    "repetition": (1, 2),
    "actor": (1, 24),
}


def archive_name(actor: int) -> str:
    """The name of the archive of an actor's speech videos."""
    return f"Video_Speech_Actor_{actor:02d}.zip"


def archive(actor: int, base_url: str = BASE_URL) -> Archive:
    """The archive of an actor's speech videos, at Zenodo or a mirror with the same paths.

    Sizes and checksums are those of the Zenodo record; a mirror must hold the same files.
    """
    name = archive_name(actor)
    size, md5 = SPEECH_ARCHIVES[actor]
    url = f"{base_url.rstrip('/')}/records/{RECORD}/files/{name}?download=1"
    return Archive(name=name, url=url, bytes=size, md5=md5)


def parse_actors(text: str, known: Collection[int] | None = ACTORS) -> list[int]:
    """Actors from text such as "1-10" or "3,7,20-24", sorted, each once.

    Args:
        known: the actors that there are; None takes any number.

    Raises:
        EmotionRayError: not of that form, or an actor that is not known.
    """
    actors: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,6})\s*(?:-\s*(\d{1,6})\s*)?", part)
        if not match or int(match[2] or match[1]) < int(match[1]):
            raise EmotionRayError(f"--actors {text}: {part.strip()!r} is no actor or range; write 1-10 or 3,7,20-24")
        first, last = int(match[1]), int(match[2] or match[1])
        if known is not None and not {first, last} <= set(known):
            raise EmotionRayError(
                f"--actors {text}: RAVDESS has actors {min(known)} to {max(known)}, not {part.strip()}"
            )
        actors.update(range(first, last + 1))
    return sorted(actors)


FOLDS = tuple(tuple(range(first, first + 4)) for first in range(1, 25, 4))
"""The six test folds of four actors (two men, two women each) used in the literature."""


TAKES_AN_ARCHIVE = 60
"""Of each modality: 4 neutral, 8 of each other emotion."""
SPEECH_ARCHIVES = {
    1: (552_968_353, "3c8ececaf392b4a9b11b32271f4f6d01"),
    2: (570_673_024, "a6f40d413b2e6ef25b3a595099e59abb"),
    3: (567_824_665, "68fa240ddd8a3cc410c64efe5fb2b0e4"),
    4: (546_560_009, "013eed832af1f7e97082aae398a00dbe"),
    5: (562_966_425, "b00e17d61374ef6ba86fef35d50a20fb"),
    6: (568_517_859, "3c42877921cc08cfb5c841a0f2cb94a7"),
    7: (565_652_404, "bdd29bfe082f80361ec6b589845c283d"),
    8: (562_573_079, "bed5f43d9c18e177e34d4bc1ed9b6d77"),
    9: (523_489_249, "775da349c50bf915a1bbcb37379bd092"),
    10: (565_580_163, "70199d1c6902f76e17df308d5c41fa01"),
    11: (518_634_370, "824504aa41a8fd575e5459d5701dd378"),
    12: (557_928_718, "2a1f0ddc0ca207beedee6ce2ea863ad7"),
    13: (501_877_549, "c5f2fd4fd77941636947620368c612b5"),
    14: (552_484_059, "466d31f4cce92a14b1f4ee884bbdf7d7"),
    15: (525_205_576, "4b3b9bc8473e86f884630f2506684887"),
    16: (562_416_513, "a63c54570ebbe6bd616d0dced5630f7e"),
    17: (551_688_845, "8b7ae3e5a85d2874ac8e1195e722e047"),
    18: (565_655_520, "fef2131ac361da182c0cb85f3d8e8a6c"),
    19: (581_121_687, "abb97d97d8c4e88c866cee1cea9d06d6"),
    20: (561_349_264, "5ddfb22770093bafebdefe8faa449f48"),
    21: (590_292_896, "d810cf2ff6863ef91306fc7a16d74fbb"),
    22: (560_907_466, "fee55f72c9871401f23d4b167de3217d"),
    23: (545_177_865, "b31e8c8904e66102e7a951694db752d6"),
    24: (595_799_165, "eef90e806c9179bc5b4b098d03647ae3"),
}
"""Size in bytes and md5 of each actor's speech video archive, from the Zenodo record."""
