import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from fake_fits import make_clips

from emotion_ray.errors import EmotionRayError
from emotion_ray.learning.run_folder import open_run, run_folder
from emotion_ray.settings import AugmentSettings, EvaluateSettings, LSTMSettings, TrainRunSettings, TuneSettings


@pytest.fixture
def settings(tmp_path):
    return TrainRunSettings(root=str(tmp_path), run="one", lr=0.01, lstm=LSTMSettings(3), augment=AugmentSettings(0.5))


def test_a_run_is_gone_on_with_by_the_settings_that_it_was_begun_with(settings, tmp_path):
    run, used = open_run("train", settings)
    assert used == settings
    assert not (tmp_path / "runs").exists()
    run.note(models=["one"])
    record = json.loads((tmp_path / "runs" / "one" / "run.json").read_text())
    assert record["complete"] is False
    assert record["models"] == ["one"]
    again, used = open_run("train", TrainRunSettings(root=str(tmp_path), run="one", resume=True))
    assert asdict(used) == {**asdict(settings), "resume": True}
    assert used.training == settings.training
    assert again.record["models"] == ["one"]
    assert again.path("lstm", "x") == f"{tmp_path}/runs/one/lstm/x"
    assert run.path() == again.path() == run_folder(settings)


def test_without_a_name_the_newest_unfinished_run_of_the_command_goes_on(tmp_path):
    for name, began, complete in (("a", "2026-01-01", False), ("b", "2026-01-02", False), ("c", "2026-01-03", True)):
        run, _ = open_run("evaluate", EvaluateSettings(root=str(tmp_path), run=name, tuned=("x", "y")))
        run.note(began=began, complete=complete)
    open_run("tune", TuneSettings(root=str(tmp_path), run="d"))[0].note(began="2026-01-04")
    run, settings = open_run("evaluate", EvaluateSettings(root=str(tmp_path), resume=True))
    assert (run.name, settings.run, settings.tuned) == ("b", "b", ("x", "y"))


def test_runs_without_a_name_get_one(tmp_path):
    run, _ = open_run("tune", TuneSettings(root=str(tmp_path), model="attention"))
    assert run.name.startswith("tune-attention-2")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"run": "one"}, "there is a run one in .*: go on with --resume, or give another --run"),
        ({"run": "../up"}, "'../up' is no name for a run"),
        ({"run": "none", "resume": True}, "there is no run in .*none: leave out --resume"),
        ({"run": "other", "resume": True}, "other in .* is no run of train"),
        ({"run": "broken", "resume": True}, "broken in .* is no run of train"),
        ({"run": "old", "resume": True}, "run old has settings of another release"),
    ],
)
def test_what_can_not_be_begun_or_gone_on_with_is_refused(settings, tmp_path, more, says):
    open_run("train", settings)[0].note()
    open_run("tune", TuneSettings(root=str(tmp_path), run="other"))[0].note()
    open_run("train", TrainRunSettings(root=str(tmp_path), run="old"))[0].note(settings={"colour": 1})
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "run.json").write_text("{")
    with pytest.raises(EmotionRayError, match=says):
        open_run("train", TrainRunSettings(root=str(tmp_path), **more))


def test_a_run_goes_on_with_the_clips_that_it_was_begun_with_and_no_others(settings, tmp_path):
    clips = make_clips()
    open_run("train", settings)[0].begin(clips)
    again = TrainRunSettings(root=str(tmp_path), run="one", resume=True)
    open_run("train", again)[0].begin(clips)
    for other in (clips.take(np.arange(1, len(clips))), replace(clips, actor=clips.actor + 1)):
        with pytest.raises(EmotionRayError, match=rf"^run one was begun with other clips than these {len(other)}: "):
            open_run("train", again)[0].begin(other)


def test_what_is_complete_is_not_begun_again(settings, tmp_path):
    open_run("train", settings)[0].note(models=["one"], complete=True)
    open_run("evaluate", EvaluateSettings(root=str(tmp_path), run="two"))[0].note(complete=True)
    with pytest.raises(EmotionRayError, match=r"^run one is complete, its models are one: leave out --resume"):
        open_run("train", TrainRunSettings(root=str(tmp_path), run="one", resume=True))
    with pytest.raises(EmotionRayError, match=r"^run two is complete, see .*/runs/two: leave out --resume"):
        open_run("evaluate", EvaluateSettings(root=str(tmp_path), run="two", resume=True))


def test_nothing_unfinished_is_nothing_to_resume(tmp_path):
    with pytest.raises(EmotionRayError, match="there is no unfinished run of train"):
        open_run("train", TrainRunSettings(root=str(tmp_path), resume=True))
