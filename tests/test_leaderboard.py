import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from emotion_ray.data.storage import Folder
from emotion_ray.distributed.leaderboard import LEADERBOARD, Leaderboard, Row, described, ranked
from emotion_ray.distributed.search_space import baseline
from emotion_ray.distributed.sweep_plots import importance, write_plots
from emotion_ray.errors import EmotionRayError
from emotion_ray.learning.metrics import Interval


def history(*figures):
    return [
        {
            "epoch": number,
            "val_uar": uar,
            "val_loss": loss,
            "val_accuracy": uar,
            "train_seconds": 1.0,
            "val_seconds": 0.5,
        }
        for number, (uar, loss) in enumerate(figures, 1)
    ]


DATA = "the synthetic sample (full)"
HISTORIES = {
    "base": history((0.1, 2.1), (0.3, 1.9), (0.3, 1.8), (0.2, 1.7)),
    "good": history((0.2, 2.0), (0.5, 1.5), (0.4, 1.2), (0.4, 1.1)),
    "tied": history((0.5, 1.6), (0.4, 1.5), (0.4, 1.5), (0.4, 1.5)),
    "slow": history((0.1, 2.2)),
    "odd": history((0.2, 2.0)),
    "dead": [],
}


def row(trial, reason="", **changed):
    config = {**baseline("lstm"), **changed}
    return Row.of(trial, config, not changed, HISTORIES[trial], epochs=4, reason=reason)


@pytest.fixture
def board():
    rows = [
        row("base"),
        row("slow", lr=0.005),
        row("dead", "the loss is nan at epoch 1", lr=0.009),
        row("tied", lr=0.002),
        row("good", lr=0.003, batch=16),
        row("odd", lr=0.0002),
    ]
    test = {"best": (0.45, 0.3, 0.6), "baseline": (0.3, 0.2, 0.4), "gain": (0.15, 0.05, 0.25)}
    figures = {key: {"uar": Interval(*value)} for key, value in test.items()}
    return Leaderboard("lstm", DATA, ranked(rows), 4, figures, 12)


def test_the_best_is_first_ties_go_to_the_lower_loss_and_failures_come_last(board):
    assert [one.trial for one in board.rows] == ["good", "tied", "base", "odd", "slow", "dead"]
    assert [one.status for one in board.rows] == ["all epochs"] * 3 + ["stopped early"] * 2 + ["failed"]
    assert (board.best.best_epoch, board.best.val_loss) == (2, 1.5)
    assert board.rows[2].baseline and board.rows[2].best_epoch == 3
    assert board.best.seconds == 6


def test_the_epochs_saved_are_counted(board):
    assert board.epochs_run == 14
    assert board.epochs_saved == pytest.approx(1 - 14 / 20)
    told = "6 trials, 2 stopped early: 14 of 20 epochs were run, 30% saved; 1 failed (the loss is nan at epoch 1)"
    assert told in board.in_words()
    gain = f"on test clips of {DATA} UAR 45.0%, the baseline 30.0%: +15.0% (95% interval +5.0% to +25.0%)"
    assert gain in board.in_words()
    assert "to +25.0%, of 2 actors, so rough)" in replace(board, test_actors=2).in_words()


def test_it_is_written_as_json_that_anything_reads(board, tmp_path):
    board.write(Folder.at(tmp_path))
    content = json.loads((tmp_path / LEADERBOARD).read_text(), parse_constant=pytest.fail)
    assert content["data"] == DATA
    assert [one["trial"] for one in content["trials"]] == [one.trial for one in board.rows]
    assert [one["baseline"] for one in content["trials"]].count(True) == 1
    assert content["trials"][-1] | {"val_uar": None, "reason": "the loss is nan at epoch 1"} == content["trials"][-1]
    assert content["test"]["gain"]["uar"] == {"value": 0.15, "low": 0.05, "high": 0.25}


def test_the_table_marks_the_baseline_wherever_it_stands(board):
    out = io.StringIO()
    Console(file=out, width=120).print(board.table(most=1))
    assert f"lstm: trials by validation UAR on {DATA}" in out.getvalue()
    assert "the baseline" in out.getvalue()
    assert "tied" not in out.getvalue()
    assert "lr 0.003, batch 16" in out.getvalue()


def test_changes_are_told_on_one_line():
    assert described("lstm", {**baseline("lstm"), "lr": 0.00123, "lstm.layers": 2}) == "lr 0.0012, lstm.layers 2"
    assert described("lstm", baseline("lstm")) == ""


def test_a_sweep_of_failures_has_no_best():
    with pytest.raises(EmotionRayError, match=r"no trial came through \(the loss is nan\)"):
        ranked([row("dead", "the loss is nan")])
    with pytest.raises(EmotionRayError, match="no trial was begun"):
        ranked([])


@pytest.mark.slow
def test_pictures_are_drawn(board, tmp_path):
    names = write_plots(Folder.at(tmp_path), board, HISTORIES)
    assert names == ["learning_curves.png", "learning_rate.png", "importance.png"]
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in names)


@pytest.mark.slow
def test_importance_is_that_of_the_setting_that_matters():
    rows = []
    for number in range(24):
        lr = 1e-4 * 10 ** (number / 12)
        HISTORIES[f"t{number}"] = history((0.1 + 0.03 * number, 2.0))
        rows.append(row(f"t{number}", lr=lr, batch=(4, 8, 16)[number * 7 % 3]))
    found = importance(Leaderboard("lstm", DATA, ranked(rows), 1, {}, 2))
    assert next(iter(found)) == "lr"
    assert found["lr"] > 0.5
    assert sum(found.values()) == pytest.approx(1)


def test_too_few_trials_say_nothing_of_importance(board):
    few = Leaderboard("lstm", DATA, board.rows[:2], 4, {}, 2)
    assert importance(few) == {}
