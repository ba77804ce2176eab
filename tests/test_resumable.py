from dataclasses import replace
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
from random_clips import random_clips

from emotion_ray.data.provenance import Provenance
from emotion_ray.data.splits import one_split
from emotion_ray.errors import EmotionRayError
from emotion_ray.learning.history import CHECKPOINT, read_history, write_history
from emotion_ray.learning.predict import predict
from emotion_ray.learning.resumable import best_epoch, train_resumably
from emotion_ray.learning.trained import Trained, store_model
from emotion_ray.models.store import load_stored
from emotion_ray.settings import AttentionSettings, LSTMSettings, TrainSettings

pytestmark = pytest.mark.slow

SMALL = TrainSettings(
    epochs=4, lstm=LSTMSettings(hidden_size=8), attention=AttentionSettings(embedding=8, heads=2, feed_forward=16)
)
CLIPS = random_clips(96, frames=3, size=8)
SPLIT = one_split("actor", CLIPS.emotion, CLIPS.actor, CLIPS.clip_id, seed=0, fold=2)
PARTS = CLIPS.take(SPLIT.train), CLIPS.take(SPLIT.validation)


def timeless(history):
    return [{key: value for key, value in record.items() if "seconds" not in key} for record in history]


@pytest.mark.parametrize("architecture", ["lstm", "attention"])
def test_a_run_that_is_cut_off_goes_on_from_its_last_epoch(architecture, tmp_path):
    whole = list(train_resumably(tmp_path / "whole", architecture, *PARTS, SMALL))
    assert [len(history) for history in whole] == [1, 2, 3, 4]

    cut = train_resumably(tmp_path / "cut", architecture, *PARTS, SMALL)
    next(cut), next(cut)
    cut.close()
    assert len(read_history(tmp_path / "cut")) == 2
    rest = list(train_resumably(tmp_path / "cut", architecture, *PARTS, SMALL))
    assert [len(history) for history in rest] == [2, 3, 4]
    assert timeless(rest[-1]) == timeless(whole[-1])
    assert read_history(tmp_path / "cut") == rest[-1]


def test_a_kill_between_the_files_of_the_last_epoch_is_mended(tmp_path):
    (*_, history) = train_resumably(tmp_path, "lstm", *PARTS, SMALL)
    write_history(tmp_path, history[:-1])
    assert list(train_resumably(tmp_path, "lstm", *PARTS, SMALL)) == [history]
    assert read_history(tmp_path) == history


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # TensorBoard's own thread
def test_events_that_a_full_disk_does_not_take_are_one_line_and_the_training_can_go_on(tmp_path, tmpfs):
    folder = tmp_path / "run"
    folder.mkdir()
    (full := tmpfs("size=4k")).joinpath("ballast").write_bytes(bytes(2**12))
    (folder / "tensorboard").symlink_to(full)
    with pytest.raises(EmotionRayError, match="can't write TensorBoard's events in") as caught:
        list(train_resumably(folder, "lstm", *PARTS, SMALL, tensorboard=True))
    assert str(caught.value).endswith("No space left on device; free space, then go on")
    (folder / "tensorboard").unlink()
    (*_, history) = train_resumably(folder, "lstm", *PARTS, SMALL, tensorboard=True)
    assert [record["epoch"] for record in history] == [1, 2, 3, 4]


def test_workers_end_together_where_the_first_can_not_write(tmp_path):
    (tmp_path / "file").write_text("no folder")
    torch.multiprocessing.spawn(_worker, (f"file://{tmp_path}/meet", tmp_path), nprocs=2)
    told = [(tmp_path / f"{rank}.txt").read_text() for rank in (0, 1)]
    assert "can't write" in told[0]
    assert told[1] == "another worker of this training failed"


def _worker(rank, address, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2, timeout=timedelta(seconds=30))
    try:
        list(train_resumably(folder / "file" / "run", "lstm", *PARTS, SMALL, rank=rank, world_size=2))
    except EmotionRayError as error:
        (folder / f"{rank}.txt").write_text(str(error))
    dist.destroy_process_group()


def test_a_run_that_has_ended_says_so_again_and_trains_no_more(tmp_path):
    list(train_resumably(tmp_path, "lstm", *PARTS, SMALL))
    before = (tmp_path / CHECKPOINT).stat().st_mtime_ns
    assert [len(history) for history in train_resumably(tmp_path, "lstm", *PARTS, SMALL)] == [4]
    assert (tmp_path / CHECKPOINT).stat().st_mtime_ns == before


def test_the_checkpoint_of_other_settings_is_refused(tmp_path):
    list(train_resumably(tmp_path, "lstm", *PARTS, SMALL))
    with pytest.raises(EmotionRayError, match=r"the checkpoint is of a run with lr 0\.001, not 0\.01"):
        list(train_resumably(tmp_path, "lstm", *PARTS, replace(SMALL, lr=0.01)))


def test_a_worker_that_is_not_the_first_writes_nothing(tmp_path):
    run = train_resumably(tmp_path, "lstm", *PARTS, SMALL, rank=1)
    next(run)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("architecture", ["lstm", "attention"])
def test_what_a_run_leaves_becomes_a_model_with_its_figures(architecture, tmp_path):
    (*_, history) = train_resumably(tmp_path / "run", architecture, *PARTS, SMALL)
    trained = Trained.read(tmp_path / "run", architecture, SMALL)
    assert trained.best == best_epoch(history)["epoch"]
    data = Provenance("demo", synthetic=True, licence="public domain")
    summary = store_model(tmp_path / "models", "first", trained, CLIPS, SPLIT, data)
    loaded = load_stored(tmp_path / "models", "first")
    test = CLIPS.take(SPLIT.test)
    right = (predict(loaded.model, test).argmax(1) == test.emotion).mean()
    record = loaded.record
    assert record.metrics["war"][0] == pytest.approx(right)
    assert summary.war.value == pytest.approx(right)
    assert record.metrics["epoch"] == trained.best
    assert record.split["test"] == test.clip_id
    assert not set(record.split["test"]) & set(record.split["train"] + record.split["validation"])
    assert record.data == {
        "name": "demo", "synthetic": True, "licence": "public domain", "clips": 96, "actors": 4,
        "seen_actors": sorted({int(actor) for part in PARTS for actor in part.actor}),
    }  # fmt: skip
    assert record.by_class["calm"]["clips"] == int((test.emotion == 1).sum())
    assert set(record.by_actor) == {str(actor) for actor in set(test.actor.tolist())}
    assert 0.05 <= record.temperature <= 20
    assert record.training["lr"] == SMALL.lr
    assert "actor fold 2" in record.protocol
    card = (tmp_path / "models" / "first" / "MODEL_CARD.md").read_text()
    assert "synthetic sample" in card
    with pytest.raises(EmotionRayError, match="choose another name"):
        store_model(tmp_path / "models", "first", trained, CLIPS, SPLIT, data)


def test_best_and_last_weights_are_told_apart(tmp_path):
    list(train_resumably(tmp_path, "lstm", *PARTS, replace(SMALL, epochs=6, lr=0.01)))
    trained = Trained.read(tmp_path, "lstm", replace(SMALL, epochs=6, lr=0.01))
    same = all(
        torch.equal(trained.weights["best"][key], trained.weights["last"][key]) for key in trained.weights["best"]
    )
    assert same == (trained.best == 6)
    epochs = dict(zip(*trained.test(CLIPS, SPLIT, "x").select(["choice", "epoch"]).to_pydict().values(), strict=True))
    assert epochs == {"best": trained.best, "last": 6}


def test_a_folder_without_a_checkpoint_holds_no_model(tmp_path):
    with pytest.raises(EmotionRayError, match="no checkpoint of a trained model"):
        Trained.read(tmp_path, "lstm", SMALL)
