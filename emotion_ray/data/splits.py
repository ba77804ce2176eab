"""Which clips train, which choose the epoch, and which are tested on.

Two protocols:

- `random`: the stratified 80/20 of most tutorials. The same actors stand on both sides, and the epoch is
  chosen on the very clips that are tested on, so it reads far higher than what a new face would see.
- `actor`: every clip is tested once, by a model that has seen no other clip of its actor, neither in training
  nor in the choice of the epoch.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from sklearn.model_selection import train_test_split

from emotion_ray.data.ravdess import ACTORS, EMOTIONS, FOLDS, Code
from emotion_ray.errors import EmotionRayError

Protocol = Literal["random", "actor"]
PROTOCOLS: tuple[Protocol, ...] = ("random", "actor")
RANDOM_SHARE = 0.2  # of the clips, held out by the random split
MAX_FOLDS = 5  # for data other than the whole of RAVDESS
MIN_ACTORS = 3  # one to train on, one to choose the epoch by, one to test on


@dataclass(frozen=True, eq=False)
class Split:
    """One division of N clips, as positions 0..N-1, int64, ascending.

    Attributes:
        protocol: "random" or "actor".
        fold: 0 for the random split, else which of the actor folds, from 0, is the test fold.
        train: what weights are fitted to.
        validation: what the epoch is chosen by and the temperature fitted to.
        test: what is reported; with the random protocol the validation clips themselves.
    """

    protocol: Protocol
    fold: int
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    @property
    def selected_on_test(self) -> bool:
        """True where the epoch is chosen on the clips that are reported."""
        return bool(np.isin(self.validation, self.test).any())


def random_split(labels: np.ndarray, seed: int) -> Split:
    """The baseline's stratified random split: a fifth of the clips is validation, and test part too.

    Args:
        labels: int [N], 0..7.
        seed: the same seed gives the same split.

    Raises:
        EmotionRayError: too few clips, or a class with fewer than two.
    """
    classes, counts = np.unique(labels, return_counts=True)
    held_out = int(np.ceil(RANDOM_SHARE * len(labels)))
    if len(classes) and counts.min() < 2:
        rare = EMOTIONS[classes[counts.argmin()]]
        raise EmotionRayError(f"a random split needs two clips of each class, {rare} has one: prepare more takes")
    if held_out < len(classes) or len(labels) - held_out < len(classes) or not len(labels):
        raise EmotionRayError(
            f"{len(labels)} clips of {len(classes)} classes are too few for a random {1 - RANDOM_SHARE:.0%} to "
            f"{RANDOM_SHARE:.0%} split with every class on both sides: prepare more takes"
        )
    positions = np.arange(len(labels))
    train, test = train_test_split(positions, test_size=held_out, stratify=labels, random_state=seed)
    split = Split("random", 0, np.sort(train), np.sort(test), np.sort(test))
    check_split(split, labels)
    return split


def actor_splits(labels: np.ndarray, actors: np.ndarray, clip_ids: Sequence[str], seed: int) -> list[Split]:
    """One split for each test fold of actors; the validation actors are another fold, never the test fold.

    Which of the other folds validates follows from the seed, so that several seeds differ in it.

    Args:
        labels: int [N], 0..7.
        actors: int [N].
        clip_ids: N names; RAVDESS names say each actor's sex.
        seed: of the folds (the six of the literature stay as they are) and of the validation actors.

    Raises:
        EmotionRayError: fewer than three actors, or a class that some fold could not train on.
    """
    folds = actor_folds(sorted(set(actors.tolist())), seed, ravdess=_named_as_ravdess(clip_ids))
    splits = []
    for fold, tested in enumerate(folds):
        validated = folds[(fold + 1 + seed % (len(folds) - 1)) % len(folds)]
        in_test, in_validation = np.isin(actors, tested), np.isin(actors, validated)
        parts = (np.flatnonzero(part) for part in (~in_test & ~in_validation, in_validation, in_test))
        split = Split("actor", fold, *parts)
        check_split(split, labels)
        splits.append(split)
    return splits


def actor_folds(actors: Sequence[int], seed: int, ravdess: bool) -> list[tuple[int, ...]]:
    """Divides actors into test folds.

    All 24 actors of RAVDESS give the six folds of the literature. Otherwise there are min(5, actors) folds,
    shuffled by the seed; in RAVDESS men and women are dealt out evenly.

    Args:
        actors: each actor once.
        seed: the same seed gives the same folds.
        ravdess: the numbers are RAVDESS's: odd actors are men, even ones women.

    Raises:
        EmotionRayError: fewer than three actors.
    """
    if len(actors) < MIN_ACTORS:
        raise EmotionRayError(
            f"actor folds need at least {MIN_ACTORS} actors (to train, to choose the epoch, to test) and "
            f"the clips have {len(actors)}: prepare more actors, or use the random protocol"
        )
    if ravdess and tuple(actors) == ACTORS:
        return [tuple(fold) for fold in FOLDS]
    random = np.random.default_rng(seed)
    groups = [[a for a in actors if a % 2 == sex] for sex in (1, 0)] if ravdess else [list(actors)]
    dealt = [int(actor) for group in groups for actor in random.permutation(group)]
    count = min(MAX_FOLDS, len(actors))
    return [tuple(sorted(dealt[fold::count])) for fold in range(count)]


def make_splits(
    protocol: Protocol, labels: np.ndarray, actors: np.ndarray, clip_ids: Sequence[str], seed: int
) -> list[Split]:
    """The splits of a protocol: one for `random`, one for each fold for `actor`.

    Raises:
        EmotionRayError: as `random_split` and `actor_splits`.
    """
    if protocol == "random":
        return [random_split(labels, seed)]
    return actor_splits(labels, actors, clip_ids, seed)


def one_split(
    protocol: Protocol, labels: np.ndarray, actors: np.ndarray, clip_ids: Sequence[str], seed: int, fold: int
) -> Split:
    """The split of a single training: of the actor protocol that of one fold.

    Args:
        fold: which of the actor folds is tested on, from 1; without effect on the random split.

    Raises:
        EmotionRayError: as `make_splits`, or there is no such fold.
    """
    splits = make_splits(protocol, labels, actors, clip_ids, seed)
    if protocol == "random":
        return splits[0]
    if not 1 <= fold <= len(splits):
        raise EmotionRayError(f"there is no actor fold {fold}: these clips have 1 to {len(splits)}")
    return splits[fold - 1]


def search_split(
    protocol: Protocol, labels: np.ndarray, actors: np.ndarray, clip_ids: Sequence[str], seed: int, fold: int
) -> Split:
    """A split for choosing settings: as `one_split`, but the test clips never choose anything.

    With the random protocol a stratified fifth of the clips is the test part, and a fifth of the others chooses.

    Raises:
        EmotionRayError: as `one_split`.
    """
    outer = one_split(protocol, labels, actors, clip_ids, seed, fold)
    if not outer.selected_on_test:
        return outer
    inner = random_split(labels[outer.train], seed)
    split = Split("random", 0, outer.train[inner.train], outer.train[inner.test], outer.test)
    check_split(split, labels)
    return split


def check_split(split: Split, labels: np.ndarray) -> None:
    """Checks that no part is empty and that every class that is tested on can be learnt.

    Raises:
        EmotionRayError: which part or class is at fault.
    """
    where = "the random split" if split.protocol == "random" else f"actor fold {split.fold + 1}"
    for part in ("train", "validation", "test"):
        if not len(getattr(split, part)):
            raise EmotionRayError(f"{where} has no {part} clips: prepare more takes or actors")
    held_out = np.concatenate([split.validation, split.test])
    missing = np.setdiff1d(labels[held_out], labels[split.train])
    if len(missing):
        names = ", ".join(EMOTIONS[label] for label in missing)
        raise EmotionRayError(f"{where} has no training clips of {names}: prepare more takes or actors")


def count_twins(clip_ids: Sequence[str]) -> int:
    """How many clips have the same take among the others, under the other modality.

    RAVDESS publishes each take with sound (modality 01) and without (02). With both, a random split tests on
    pictures that it has trained on. 0 for clips of one modality, and for other data.
    """
    if not _named_as_ravdess(clip_ids):
        return 0
    takes = [clip_id.split("-", 1)[1] for clip_id in clip_ids]
    return len(takes) - sum(count == 1 for count in Counter(takes).values())


def _named_as_ravdess(clip_ids: Sequence[str]) -> bool:
    try:
        for clip_id in clip_ids:
            Code.parse(clip_id)
    except ValueError:
        return False
    return True
