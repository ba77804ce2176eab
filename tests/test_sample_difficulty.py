"""Trainings of the proof on the sample's difficulty that are kept, and what its page says of them."""

import json

import pytest
from sample_difficulty import Records, trained_where

from emotion_ray.sample.render import VERSION

pytestmark = pytest.mark.slow


def test_a_training_that_has_ended_is_not_run_again(tmp_path):
    path, runs = tmp_path / "new" / "trainings.jsonl", []

    def measure(number):
        runs.append(number)
        return number / 3

    for _ in range(2):
        records = Records(path)
        assert [records.accuracy(f"seed {number}", measure, number) for number in (1, 2)] == [1 / 3, 2 / 3]
        assert [one["training"] for one in records.used] == ["seed 1", "seed 2"]
    assert runs == [1, 2]
    kept = [json.loads(text) for text in path.read_text().splitlines()]
    assert {"commit", "hardware", "date", "software"} <= set(kept[0])
    path.write_text(json.dumps(kept[0] | {"sample": VERSION - 1}) + "\n")
    assert Records(path).accuracy("seed 1", measure, 9) == 3, "of another version of the sample"


def test_the_page_says_where_other_trainings_ran():
    here = {"commit": "a", "date": "2026-01-02T03", "hardware": "x"}
    assert trained_where(here) == trained_where(here | {"trainings": [here]}) == []
    told = trained_where(here | {"trainings": [here, here | {"hardware": "y"}]})
    assert told == ["The trainings ran at commit, on: a, 2026-01-02, x; a, 2026-01-02, y."]
