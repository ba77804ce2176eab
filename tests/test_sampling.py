from itertools import count

import pytest

from emotion_ray.vision.sampling import NearestInTime


def taken(times, wanted, shown_s=0.5):
    nearest = NearestInTime(wanted)
    found = [pair for time in times for pair in nearest.take(time, f"at {time}")]
    return [*found, *nearest.rest(shown_s)]


def test_each_time_gets_the_item_nearest_to_it():
    assert taken([0.0, 0.9, 2.0, 3.3], [0, 1, 2, 3]) == [(0, "at 0.0"), (1, "at 0.9"), (2, "at 2.0"), (3, "at 3.3")]


def test_a_slow_source_gives_an_item_several_times_and_a_fast_one_leaves_some_out():
    assert [item for _, item in taken([0, 10, 20], range(0, 20, 2))] == ["at 0"] * 3 + ["at 10"] * 5 + ["at 20"] * 2
    assert [item for _, item in taken(range(10), [0, 4, 8])] == ["at 0", "at 4", "at 8"]


def test_an_item_on_time_is_given_at_once():
    nearest = NearestInTime(count())
    assert list(nearest.take(0.0, "a")) == [(0, "a")]
    assert list(nearest.take(0.9995, "b")) == [(1, "b")]  # files round times to a millisecond
    assert list(nearest.take(1.5, "c")) == []
    assert list(nearest.take(2.1, "d")) == [(2, "d")]


@pytest.mark.parametrize(("shown_s", "times"), [(0.0, 1), (0.5, 1), (1.5, 2), (3.0, 3)])
def test_the_last_item_stands_for_as_long_as_it_is_shown(shown_s, times):
    assert len(taken([0.0], [0.0, 1.0, 2.9, 4.0], shown_s)) == times


def test_it_is_done_when_all_times_have_their_item():
    nearest = NearestInTime([0.0, 1.0])
    assert not nearest.done
    list(nearest.take(0.0, "a"))
    assert not nearest.done
    list(nearest.take(1.2, "b"))
    assert nearest.done


def test_without_an_item_nothing_is_given():
    assert taken([], [0.0]) == []
