"""RAVDESS's file names, archives and actors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emotion_ray.data import ravdess
from emotion_ray.data.ravdess import ACTORS, EMOTIONS, FOLDS, SPEECH_ARCHIVES, Code, archive, parse_actors
from emotion_ray.errors import EmotionRayError


def test_a_name_gives_its_fields():
    code = Code.parse("Actor_07/02-01-05-01-02-02-07.mp4")
    assert code == Code(modality=2, channel=1, emotion=4, intensity=1, statement=2, repetition=2, actor=7)
    assert EMOTIONS[code.emotion] == "angry"


codes = st.builds(
    Code,
    modality=st.integers(1, 3),
    channel=st.integers(1, 2),
    emotion=st.integers(1, 7),
    intensity=st.integers(1, 2),
    statement=st.integers(1, 2),
    repetition=st.integers(1, 2),
    actor=st.integers(1, 24),
)


@given(codes)
def test_a_code_survives_its_name(code):
    assert Code.parse(code.clip_id) == code
    assert Code.parse(code.member) == code


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("", "not a RAVDESS name"),
        ("holiday.mp4", "not a RAVDESS name"),
        ("01-01-05-01-02-02.mp4", "not a RAVDESS name"),
        ("01-01-05-01-02-02-07-01.mp4", "not a RAVDESS name"),
        ("1-1-5-1-2-2-7.mp4", "not a RAVDESS name"),
        ("\u0660\u0661-01-05-01-02-02-07.mp4", "not a RAVDESS name"),  # digits, but not of ASCII
        ("04-01-05-01-02-02-07.mp4", "modality is 4"),
        ("01-03-05-01-02-02-07.mp4", "channel is 3"),
        ("01-01-00-01-02-02-07.mp4", "emotion is"),
        ("01-01-09-01-02-02-07.mp4", "emotion is"),
        ("01-01-05-03-02-02-07.mp4", "intensity is 3"),
        ("01-01-05-01-00-02-07.mp4", "statement is 0"),
        ("01-01-05-01-02-03-07.mp4", "repetition is 3"),
        ("01-01-05-01-02-02-25.mp4", "actor is 25"),
        ("01-01-01-02-02-02-07.mp4", "neutral has no strong intensity"),
    ],
)
def test_a_malformed_name_says_what_is_wrong(name, complaint):
    with pytest.raises(ValueError, match=complaint) as caught:
        Code.parse(name)
    assert repr(name.removesuffix(".mp4")) in str(caught.value)


def test_an_emotion_is_complained_of_by_the_number_in_the_name():
    with pytest.raises(ValueError, match=r"emotion is 9, expected 1 to 8"):
        Code.parse("01-01-09-01-02-02-07.mp4")


def test_the_archives_are_those_of_the_record():
    assert tuple(SPEECH_ARCHIVES) == ACTORS == tuple(range(1, 25))
    assert sum(size for size, _ in SPEECH_ARCHIVES.values()) == 13_357_344_723
    sums = {md5 for _, md5 in SPEECH_ARCHIVES.values()}
    assert len(sums) == 24
    assert all(len(md5) == 32 and int(md5, 16) for md5 in sums)


def test_an_archive_knows_its_address():
    first = archive(1)
    assert first.url == "https://zenodo.org/records/1188976/files/Video_Speech_Actor_01.zip?download=1"
    assert (first.name, first.bytes, first.md5) == ("Video_Speech_Actor_01.zip", *SPEECH_ARCHIVES[1])
    assert archive(24, "http://mirror:8000/").url.startswith("http://mirror:8000/records/1188976/files/")


@pytest.mark.parametrize(
    ("text", "actors"),
    [
        ("1-10", list(range(1, 11))),
        ("24", [24]),
        ("3,7,20-24", [3, 7, 20, 21, 22, 23, 24]),
        (" 7 , 3 - 4 ,7", [3, 4, 7]),
        ("05", [5]),
    ],
)
def test_actors_are_read_from_ranges(text, actors):
    assert parse_actors(text) == actors


@pytest.mark.parametrize("text", ["", "25", "0", "1-25", "5-3", "all", "1,,2", "-3", "1-2-3", "1.5", "9" * 5000])
def test_actors_that_are_not_there_are_refused(text):
    with pytest.raises(EmotionRayError) as caught:
        parse_actors(text)
    assert "--actors" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_folds_hold_two_men_and_two_women_each_and_everybody_once():
    assert [len(fold) for fold in FOLDS] == [4] * 6
    assert sorted(actor for fold in FOLDS for actor in fold) == list(ravdess.ACTORS)
    assert all(sum(actor % 2 for actor in fold) == 2 for fold in FOLDS)
