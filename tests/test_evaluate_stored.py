"""Stored models tested as they are, on data that they were not trained on."""

import io
import json

import numpy as np
import pytest
import torch
from rich.console import Console
from small_clips import write_small_clips

from emotion_ray.data.prepared import write_record
from emotion_ray.data.ravdess import EMOTIONS
from emotion_ray.data.storage import Folder
from emotion_ray.errors import EmotionRayError
from emotion_ray.learning.cross_corpus import evaluate_stored
from emotion_ray.learning.metrics import probabilities
from emotion_ray.learning.predict import predict
from emotion_ray.learning.predictions import load_evaluation
from emotion_ray.learning.run_folder import open_run
from emotion_ray.learning.summaries import summarise
from emotion_ray.models.architectures import build
from emotion_ray.models.record import ModelRecord
from emotion_ray.models.store import load_stored, save_model
from emotion_ray.settings import EvaluateSettings, LSTMSettings

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]
RAVDESS = {"name": "RAVDESS", "synthetic": False}


@pytest.fixture
def root(tmp_path):
    return tmp_path


def store(root, name="mine", frames=4, size=16, **facts):
    torch.manual_seed(1)
    small = LSTMSettings(hidden_size=4)
    weights = build("lstm", small, frames, size, len(facts.get("labels", EMOTIONS))).state_dict()
    save_model(
        root / "models", name, weights, ModelRecord("lstm", small, frames, size, **{"labels": EMOTIONS, **facts})
    )


def run(root, *names, **more):
    settings = EvaluateSettings(root=str(root), stored=names or ("mine",), run="tested", **more)
    return evaluate_stored(*open_run("evaluate", settings), "cpu", Console(file=io.StringIO()))


def name_data(root, name, synthetic=False):
    write_record(Folder.at(root / "clips"), {"data": {"name": name, "synthetic": synthetic}})


def result_row(text):
    """The model's line in the table of results: figures, and in brackets their intervals."""
    (row,) = [line for line in text.splitlines() if line.startswith("| mine | tested as it is")]
    return row


def test_the_figures_are_those_of_the_model_s_own_answers(root):
    clips = write_small_clips(root / "clips", 40)
    name_data(root, "our takes")
    store(root, data=RAVDESS, protocol="actor fold 1", calibration={"temperature": 2.5}, prepared_with=("noise",))
    report, evaluation = run(root)
    (summary,) = summarise(evaluation.predictions)
    logits = predict(load_stored(root / "models", "mine").model, clips)
    assert summary.war.value == np.mean(logits.argmax(1) == clips.emotion)
    assert (summary.model, summary.protocol, summary.clips, summary.actors) == ("mine", "stored", 40, 4)
    assert np.isfinite(summary.uar.low)
    rows = {row["clip_id"]: row for row in load_evaluation(report.parent).predictions.to_pylist()}
    answers = np.array([rows[clip_id]["probs"] for clip_id in clips.clip_id])
    np.testing.assert_allclose(answers, probabilities(logits, 2.5), atol=1e-5)
    text = report.with_suffix(".md").read_text()
    assert "mine: tested as it is on our takes, trained on RAVDESS by actor fold 1." in text
    assert "temperature of its training" in text
    assert "[" in result_row(text)
    assert "Learning curves" not in text and "published figures" not in text and "prepared otherwise" not in text
    assert not any("nan" in line for line in text.splitlines())
    assert json.loads((report.parent / "run.json").read_text())["complete"]


def test_what_is_absent_is_said_to_be_absent(root):
    write_small_clips(root / "clips", 6)
    store(root, data={"name": "demo", "synthetic": True}, prepared_with=("other",))
    report, evaluation = run(root)
    (summary,) = summarise(evaluation.predictions)
    assert np.isnan(summary.recall[6:]).all()
    assert summary.uar.value == summary.recall[:6].mean()
    text = report.with_suffix(".md").read_text()
    assert "There are no clips of disgust, surprised." in text
    assert "means over the 6 emotions that are there" in text and "a UAR of 16.7%" in text
    assert "All clips are of one actor, so there are no intervals" in text
    assert "| surprised | 0 | absent | absent |" in text
    assert "trained on the synthetic sample (demo)" in text.replace("\\", "")
    assert "prepared otherwise" in text
    assert "disgust (absent)" in report.read_text()
    assert "[" not in result_row(text)


def test_several_models_stand_side_by_side_and_come_back_from_disk(root):
    write_small_clips(root / "clips", 16)
    for name in ("one", "two"):
        store(root, name)
    report, evaluation = run(root, "one", "two")
    assert [summary.model for summary in summarise(evaluation.predictions)] == ["one", "two"]
    trained_on = load_evaluation(report.parent).trained_on
    assert set(trained_on) == {"one", "two"}
    assert trained_on["one"].endswith("whether these clips are among those is not known")


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"split": {"train": ["clip-003", "x"], "validation": ["clip-004"]}}, "was trained on 2 of these clips"),
        ({"data": RAVDESS}, "was trained on other clips of RAVDESS"),
        ({"data": RAVDESS | {"seen_actors": [9, 2]}}, "other clips of RAVDESS, maybe of the same actors"),
        ({"data": RAVDESS | {"seen_actors": "9"}}, "was trained on other clips of RAVDESS"),
        ({"frames": 6}, "takes clips of 6 frames of 16x16 px and these have 4 of 16x16"),
        ({"size": 24}, "prepare them with --frames 4 --size 24"),
        ({"labels": ("yes", "no")}, r"tells other emotions \(yes, no\)"),
    ],
)
def test_figures_that_would_say_nothing_are_refused(root, facts, says):
    write_small_clips(root / "clips", 16)
    name_data(root, "RAVDESS")
    store(root, **facts)
    with pytest.raises(EmotionRayError, match=says) as caught:
        run(root)
    assert "\n" not in str(caught.value)
    assert not (root / "runs").exists()


def test_clips_of_the_held_out_part_of_other_data_may_be_tested(root):
    write_small_clips(root / "clips", 16)
    name_data(root, "RAVDESS")
    store(root, data={"name": "RAVDESS", "synthetic": True}, split={"train": ["a"], "test": ["clip-001"]})
    assert run(root)[0].is_file()


def test_actors_of_the_same_data_that_a_model_does_not_know_may_be_tested(root):
    write_small_clips(root / "clips", 16)
    name_data(root, "RAVDESS")
    store(root, data=RAVDESS | {"seen_actors": [9, 10]}, split={"train": ["a"], "validation": ["b"]})
    assert run(root)[0].is_file()


@pytest.mark.parametrize(
    ("more", "says"),
    [({"model": "lstm"}, "without --model"), ({"tuned": ("mine",)}, "and --tuned")],
)
def test_training_and_testing_as_it_is_do_not_mix(more, says):
    with pytest.raises(EmotionRayError, match=says):
        EvaluateSettings(stored=("mine",), **more)


def test_one_model_twice_is_refused(root):
    with pytest.raises(EmotionRayError, match="named twice in mine, mine"):
        run(root, "mine", "mine")
