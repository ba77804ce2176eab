import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emotion_ray.data import ravdess
from emotion_ray.data.ravdess import Code
from emotion_ray.data.splits import (
    actor_folds,
    actor_splits,
    check_split,
    count_twins,
    make_splits,
    one_split,
    random_split,
    search_split,
)
from emotion_ray.errors import EmotionRayError


def speech_takes(actors, modalities=(1,)):
    """Labels, actors and names of RAVDESS's speech takes: 60 an actor and modality, 4 of them neutral."""
    codes = [
        Code(modality, 1, emotion, intensity, statement, repetition, actor)
        for actor in actors
        for modality in modalities
        for emotion in range(8)
        for intensity in ((1,) if emotion == 0 else (1, 2))
        for statement in (1, 2)
        for repetition in (1, 2)
    ]
    return (
        np.array([c.emotion for c in codes]),
        np.array([c.actor for c in codes]),
        [c.clip_id for c in codes],
    )


def test_random_split_is_the_baselines():
    labels, _, _ = speech_takes(range(1, 11))
    split = random_split(labels, seed=0)
    assert (len(split.train), len(split.test)) == (480, 120)
    assert np.bincount(labels[split.test]).tolist() == [8, 16, 16, 16, 16, 16, 16, 16]
    assert sorted([*split.train, *split.test]) == list(range(600))
    assert split.selected_on_test


def test_random_split_follows_its_seed():
    labels, _, _ = speech_takes(range(1, 5))
    assert np.array_equal(random_split(labels, 3).test, random_split(labels, 3).test)
    assert not np.array_equal(random_split(labels, 3).test, random_split(labels, 4).test)


def test_ravdess_has_the_six_folds_of_the_literature():
    labels, actors, names = speech_takes(ravdess.ACTORS)
    splits = actor_splits(labels, actors, names, seed=7)
    assert [tuple(np.unique(actors[split.test])) for split in splits] == list(ravdess.FOLDS)
    assert [np.bincount(labels[split.test]).tolist() for split in splits] == [[16] + [32] * 7] * 6


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(1, 24), min_size=3), st.integers(0, 2**31))
def test_actor_splits_keep_actors_apart(chosen, seed):
    labels, actors, names = speech_takes(sorted(chosen))
    splits = actor_splits(labels, actors, names, seed)
    assert len(splits) == (6 if len(chosen) == 24 else min(5, len(chosen)))
    assert sorted(np.concatenate([split.test for split in splits])) == list(range(len(labels)))
    for split in splits:
        parts = [set(actors[part].tolist()) for part in (split.train, split.validation, split.test)]
        assert set.union(*parts) == chosen
        assert sum(map(len, parts)) == len(chosen), "an actor stands in two parts"
        assert all(parts)
        assert not split.selected_on_test


@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(1, 24), min_size=3, max_size=23), st.integers(0, 2**31))
def test_folds_are_even_in_size_and_sex(chosen, seed):
    folds = actor_folds(sorted(chosen), seed, ravdess=True)
    for counts in (
        [len(fold) for fold in folds],
        [sum(actor % 2 for actor in fold) for fold in folds],
        [sum(1 - actor % 2 for actor in fold) for fold in folds],
    ):
        assert max(counts) - min(counts) <= 1


def test_folds_follow_their_seed():
    actors = list(range(1, 11))
    assert actor_folds(actors, 1, ravdess=True) == actor_folds(actors, 1, ravdess=True)
    assert len({tuple(actor_folds(actors, seed, ravdess=True)) for seed in range(5)}) > 1


def test_seeds_differ_in_the_validation_actors():
    labels, actors, names = speech_takes(ravdess.ACTORS)
    validated = {tuple(np.unique(actors[actor_splits(labels, actors, names, s)[0].validation])) for s in range(5)}
    assert validated == set(ravdess.FOLDS[1:])


def test_other_data_is_dealt_without_regard_to_sex():
    names = [f"take {i}" for i in range(32)]
    labels, actors = np.tile(np.arange(8), 4), np.repeat([1001, 1003, 1005, 1007], 8)
    splits = actor_splits(labels, actors, names, seed=0)
    assert [len(split.test) for split in splits] == [8, 8, 8, 8]


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_actors_is_one_clear_line(count):
    labels, actors, names = speech_takes(range(1, count + 1))
    with pytest.raises(EmotionRayError, match=f"at least 3 actors .* have {count}: .* random protocol") as caught:
        make_splits("actor", labels, actors, names, 0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "0 clips of 0 classes are too few"),
        ([0, 1, 1, 1, 1, 1, 1, 1, 1, 1], "two clips of each class, neutral has one"),
        ([0, 0, 1, 1, 2, 2, 3, 3], "8 clips of 4 classes are too few for a random 80% to 20% split"),
    ],
)
def test_a_random_split_that_cannot_be_is_refused(labels, message):
    with pytest.raises(EmotionRayError, match=message):
        make_splits("random", np.array(labels, int), np.zeros(len(labels), int), ["a"] * len(labels), 0)


def test_a_class_that_cannot_be_learnt_is_refused():
    labels, actors, names = speech_takes(range(1, 5))
    keep = (labels != 1) | (actors == 2)  # only actor 2 is ever calm
    with pytest.raises(EmotionRayError, match=r"actor fold \d has no training clips of calm"):
        actor_splits(labels[keep], actors[keep], [n for n, k in zip(names, keep, strict=True) if k], 0)


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_an_empty_part_is_refused(part):
    split = random_split(np.tile(np.arange(8), 10), 0)
    parts = {
        "train": split.train,
        "validation": split.validation,
        "test": split.test,
        part: np.array([], int),
    }
    with pytest.raises(EmotionRayError, match=f"the random split has no {part} clips"):
        check_split(type(split)("random", 0, **parts), np.tile(np.arange(8), 10))


def test_twins_are_counted():
    _, _, names = speech_takes([1, 2], modalities=(1, 2))
    assert count_twins(names) == 240
    assert count_twins(names[:60] + names[60:70]) == 20
    assert count_twins(speech_takes([1, 2])[2]) == 0
    assert count_twins(["x-1", "y-1"]) == 0


def test_one_fold_is_chosen_by_its_number():
    labels, actors = np.tile(np.arange(8), 12), np.repeat(np.arange(1, 7), 16)
    names = [str(number) for number in range(96)]
    folds = actor_splits(labels, actors, names, seed=1)
    assert np.array_equal(one_split("actor", labels, actors, names, seed=1, fold=3).test, folds[2].test)
    assert one_split("random", labels, actors, names, seed=1, fold=3).protocol == "random"
    for fold in (0, 6):
        with pytest.raises(EmotionRayError, match=f"there is no actor fold {fold}: these clips have 1 to 5"):
            one_split("actor", labels, actors, names, seed=1, fold=fold)


@pytest.mark.parametrize("protocol", ["random", "actor"])
def test_a_search_never_chooses_by_its_test_clips(protocol):
    labels, actors = np.tile(np.arange(8), 12), np.repeat(np.arange(1, 7), 16)
    names = [str(number) for number in range(96)]
    split = search_split(protocol, labels, actors, names, seed=2, fold=1)
    parts = [set(part.tolist()) for part in (split.train, split.validation, split.test)]
    assert set.union(*parts) == set(range(96))
    assert sum(map(len, parts)) == 96
    assert not split.selected_on_test
    assert set(labels[split.train]) == set(labels[split.validation]) == set(labels[split.test]) == set(range(8))
    outer = one_split(protocol, labels, actors, names, seed=2, fold=1)
    assert np.array_equal(split.test, outer.test)
