import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from plain_models import PlainAttention, PlainLSTM, plain_step
from random_clips import random_clips

import emotion_ray.learning.predict as predicting
from emotion_ray.errors import EmotionRayError
from emotion_ray.learning.augment import Change, changed
from emotion_ray.learning.batches import epoch_order, training_batches
from emotion_ray.learning.history import (
    HISTORY,
    TensorBoard,
    read_checkpoint,
    write_checkpoint,
    write_history,
)
from emotion_ray.learning.loop import epoch_seed, fit, learning_rate, new_model
from emotion_ray.learning.predict import predict
from emotion_ray.settings import AttentionSettings, AugmentSettings, LSTMSettings, TrainSettings

SMALL = TrainSettings(
    epochs=3,
    lstm=LSTMSettings(hidden_size=16),
    attention=AttentionSettings(embedding=16, heads=2, feed_forward=32),
)
EVERYTHING = replace(
    SMALL,
    weight_decay=0.01,
    label_smoothing=0.1,
    class_weights="balanced",
    warmup_epochs=0.5,
    schedule="cosine",
    clip_norm=1.0,
    augment=AugmentSettings(mirror=0.5, shift=2, brightness=0.2, time_jitter=2),
)
MODELS = ["lstm", "attention"]
pytestmark = pytest.mark.usefixtures("one_thread")


def trained(architecture, settings, train, validation=None, model=None, **more):
    """All epochs of a run."""
    model = model or new_model(architecture, settings, train)
    return list(fit(model, train, validation or random_clips(8, seed=9), settings, **more))


def losses(epochs):
    return np.concatenate([epoch.step_losses for epoch in epochs])


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "plain"), [("lstm", PlainLSTM), ("attention", PlainAttention)])
@pytest.mark.parametrize(("dtype", "steps", "tolerance"), [(torch.float64, 30, 1e-9), (torch.float32, 5, 1e-5)])
def test_losses_are_those_of_the_plain_loop(architecture, plain, dtype, steps, tolerance):
    settings = TrainSettings(epochs=3)
    train = random_clips(80)
    model = new_model(architecture, settings, train).to(dtype)
    reference = plain(size=16, **({"frames": 6} if architecture == "attention" else {})).to(dtype)
    reference.load_state_dict(model.state_dict())
    ours = losses(trained(architecture, settings, train, model=model))

    optimizer = torch.optim.Adam(reference.parameters(), lr=1e-3)
    theirs = []
    for epoch in (1, 2, 3):
        torch.manual_seed(epoch_seed(settings.seed, epoch))
        reference.train()
        for batch in epoch_order(80, settings.seed, epoch).reshape(10, 8):
            frames = torch.from_numpy(train.frames[batch]).movedim(-1, -3).to(dtype) / 255
            theirs.append(plain_step(reference, optimizer, frames, torch.from_numpy(train.emotion[batch])))
    assert len(ours) == 30 and len(set(ours)) == 30
    np.testing.assert_allclose(ours[:steps], np.array(theirs)[:steps], rtol=0, atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", MODELS)
def test_it_learns_what_can_be_learnt(architecture):
    train, validation = random_clips(64), random_clips(16, seed=1)
    for clips in (train, validation):
        clips.frames[:] = clips.frames // 4 + (clips.emotion * 24)[:, None, None, None, None].astype(np.uint8)
    settings = replace(SMALL, epochs=30, lr=3e-3)
    last = trained(architecture, settings, train, validation)[-1]
    best = last.history[last.best.epoch - 1]
    assert best["val_uar"] > 0.8
    assert best["val_uar"] == max(record["val_uar"] for record in last.history)
    assert np.mean(last.best.logits.argmax(1) == validation.emotion) == best["val_accuracy"]


@pytest.mark.slow
@pytest.mark.parametrize("architecture", MODELS)
@pytest.mark.parametrize("settings", [SMALL, EVERYTHING])
def test_a_run_repeats_and_a_resumed_one_goes_the_same_way(architecture, settings, tmp_path):
    train = random_clips(21, padded=True)
    whole = trained(architecture, settings, train)
    np.random.seed(5)
    torch.manual_seed(5)
    assert np.array_equal(losses(trained(architecture, settings, train)), losses(whole))

    run = fit(new_model(architecture, settings, train), train, random_clips(8, seed=9), settings)
    write_checkpoint(tmp_path, next(run))
    other_weights = new_model(architecture, replace(settings, seed=7), train)
    rest = trained(architecture, settings, train, model=other_weights, resume=read_checkpoint(tmp_path))
    assert np.array_equal(losses(rest), losses(whole[1:]))
    timeless = [{k: v for k, v in r.items() if "seconds" not in k} for r in rest[-1].history]
    assert timeless == [{k: v for k, v in r.items() if "seconds" not in k} for r in whole[-1].history]
    assert rest[-1].best.epoch == whole[-1].best.epoch
    np.testing.assert_array_equal(rest[-1].best.logits, whole[-1].best.logits)
    assert not list(fit(other_weights, train, train, settings, resume=rest[-1].checkpoint()))


@pytest.mark.slow
@pytest.mark.parametrize("architecture", MODELS)
def test_mixed_precision_goes_nearly_the_same_way_where_there_are_instructions_for_it(architecture, monkeypatch):
    train, mixed = random_clips(16), replace(SMALL, mixed_precision=True)

    def logits_and_losses(settings, instructions):
        monkeypatch.setattr(predicting, "has_bfloat16", lambda device: instructions)
        last = trained(architecture, settings, train)[-1]
        return np.append(last.logits, last.step_losses)

    plain = logits_and_losses(SMALL, True)
    np.testing.assert_array_equal(logits_and_losses(mixed, False), plain)
    other = logits_and_losses(mixed, True)
    assert np.abs(other - plain).max() > 0
    np.testing.assert_allclose(other, plain, rtol=0, atol=0.05)


@pytest.mark.slow
def test_another_seed_is_another_run():
    train = random_clips(16)
    assert not np.array_equal(
        losses(trained("lstm", SMALL, train)), losses(trained("lstm", replace(SMALL, seed=1), train))
    )


@pytest.mark.slow
def test_best_logits_are_of_the_best_weights():
    train, validation = random_clips(16), random_clips(16, seed=3)
    model = new_model("lstm", SMALL, train)
    last = trained("lstm", replace(SMALL, epochs=5), train, validation, model=model)[-1]
    np.testing.assert_array_equal(predict(model, validation), last.logits)
    model.load_state_dict(last.best.weights)
    np.testing.assert_array_equal(predict(model, validation), last.best.logits)


def test_ties_in_uar_go_to_the_lower_loss():
    settings = replace(SMALL, epochs=6, lr=1e-6)  # so low that no prediction changes
    last = trained("lstm", settings, random_clips(16))[-1]
    uars, val_losses = zip(*((r["val_uar"], r["val_loss"]) for r in last.history), strict=True)
    assert len(set(uars)) == 1
    assert last.best.epoch == 1 + int(np.argmin(val_losses))


def test_patience_ends_a_run():
    settings = replace(SMALL, epochs=50, patience=2, lr=1e-12)
    last = trained("lstm", settings, random_clips(16))[-1]
    assert len(last.history) == last.best.epoch + 2 < 50


WITHOUT_DROPOUT = replace(SMALL.attention, dropout=0.0)
SHARED_RUNS = [
    (architecture, replace(settings, batch=4, epochs=2, attention=WITHOUT_DROPOUT))
    for architecture in MODELS
    for settings in (SMALL, EVERYTHING)
]


def _worker(rank, world_size, address, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=world_size)
    for number, (architecture, settings) in enumerate(SHARED_RUNS):
        train = random_clips(17, padded=True)
        epochs = trained(architecture, settings, train, rank=rank, world_size=world_size)
        np.savez(f"{folder}/{number}.{rank}.npz", losses=losses(epochs), logits=epochs[-1].logits)
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_workers_train_as_one(tmp_path):
    # 17 clips in batches of 4: the last batch has one clip, so one worker has none of it
    torch.multiprocessing.spawn(_worker, (2, f"file://{tmp_path}/meet", str(tmp_path)), nprocs=2)
    for number, (architecture, settings) in enumerate(SHARED_RUNS):
        alone = trained(architecture, settings, random_clips(17, padded=True))
        for rank in (0, 1):
            worker = np.load(tmp_path / f"{number}.{rank}.npz")
            np.testing.assert_allclose(worker["losses"], losses(alone), rtol=0, atol=1e-5)
            np.testing.assert_allclose(worker["logits"], alone[-1].logits, rtol=0, atol=1e-4)


def test_weighted_smoothed_loss_is_the_mean_over_the_batch():
    settings = replace(SMALL, epochs=1, batch=16, class_weights="balanced", label_smoothing=0.2)
    train = random_clips(24)
    train = train.take(np.flatnonzero((train.emotion > 2) | (np.arange(24) < 8)))
    model = new_model("lstm", settings, train)
    batch = epoch_order(len(train), settings.seed, 1)[:16]
    frames = torch.from_numpy(train.frames[batch]).movedim(-1, -3) / 255
    counts = np.bincount(train.emotion, minlength=8)
    expected = torch.nn.functional.cross_entropy(
        model(frames),
        torch.from_numpy(train.emotion[batch]),
        weight=torch.from_numpy(len(train) / (8 * counts)).float(),
        label_smoothing=0.2,
    )
    epoch = next(fit(model, train, train, settings))
    assert epoch.step_losses[0] == pytest.approx(expected.item(), abs=1e-6)


def test_learning_rate_rises_and_falls():
    settings = TrainSettings(epochs=10, lr=1.0, warmup_epochs=2, schedule="cosine")
    rates = [learning_rate(settings, step, steps_per_epoch=5) for step in range(50)]
    assert np.argmax(rates) == 10 and rates[10] == 1.0
    assert 0 < rates[0] < 0.1 and 0 < rates[-1] < 0.01
    assert np.all(np.diff(rates[:11]) > 0) and np.all(np.diff(rates[10:]) < 0)
    assert {learning_rate(TrainSettings(), step, 5) for step in range(150)} == {1e-3}


def test_clip_norm_bounds_the_gradient():
    train = random_clips(16)
    model = new_model("lstm", SMALL, train)
    next(fit(model, train, train, replace(SMALL, clip_norm=1e-3)))
    norm = torch.sqrt(sum(parameter.grad.square().sum() for parameter in model.parameters()))
    assert norm.item() == pytest.approx(1e-3, rel=1e-4)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_each_epoch_takes_every_clip_once(world_size):
    clips = random_clips(20)
    order = epoch_order(20, 3, 1)
    shares = [list(training_batches(clips, AugmentSettings(), 6, 3, 1, rank, world_size)) for rank in range(world_size)]
    for step in range(4):
        members = order[6 * step : 6 * step + 6]
        for rank in range(world_size):
            batch = shares[rank][step]
            mine = members[rank::world_size]
            assert batch.all_labels.tolist() == clips.emotion[members].tolist()
            assert batch.counts == bool(len(mine))
            if batch.counts:
                np.testing.assert_array_equal(batch.frames.numpy(), clips.frames[mine])


def test_read_only_clips_are_enough():
    train = random_clips(16, padded=True)
    for array in (train.frames, train.num_frames, train.emotion):
        array.setflags(write=False)
    assert trained("lstm", replace(EVERYTHING, epochs=1), train)


def test_changes_are_the_same_for_all_frames():
    frames = np.arange(5, dtype=np.uint8)[:, None, None, None] * 40 + np.arange(36, dtype=np.uint8).reshape(6, 6, 1)
    frames = np.broadcast_to(frames, (5, 6, 6, 3)).copy()
    before = frames.copy()
    change = partial(changed, frames, 4)
    np.testing.assert_array_equal(change(Change()), frames)
    np.testing.assert_array_equal(change(Change(mirror=True)), frames[:, :, ::-1])
    np.testing.assert_array_equal(change(Change(down=2))[:, 2:], frames[:, :4])
    np.testing.assert_array_equal(change(Change(down=2))[:, 1], frames[:, 0])
    np.testing.assert_array_equal(change(Change(right=-1))[:, :, :-1], frames[:, :, 1:])
    np.testing.assert_array_equal(change(Change(later=2)), frames[[2, 3, 3, 3, 4]])
    np.testing.assert_array_equal(change(Change(later=-1)), frames[[0, 0, 1, 2, 4]])
    np.testing.assert_array_equal(change(Change(gain=0.5)), np.rint(frames * 0.5))
    np.testing.assert_array_equal(change(Change(gain=3)), np.clip(frames.astype(int) * 3, 0, 255))
    np.testing.assert_array_equal(frames, before)


def test_changes_stay_within_the_settings():
    settings = AugmentSettings(mirror=0.5, shift=2, brightness=0.2, time_jitter=3)
    drawn = [Change.drawn(settings, np.random.default_rng(seed)) for seed in range(300)]
    assert {change.mirror for change in drawn} == {False, True}
    assert {change.down for change in drawn} == {change.right for change in drawn} == {-2, -1, 0, 1, 2}
    assert {change.later for change in drawn} == set(range(-3, 4))
    assert 0.8 <= min(change.gain for change in drawn) < 0.85 < 1.15 < max(c.gain for c in drawn) <= 1.2


def test_history_and_events_are_written(tmp_path):
    train = random_clips(16)
    with TensorBoard(tmp_path) as events:
        for epoch in fit(new_model("lstm", SMALL, train), train, train, SMALL):
            write_history(tmp_path, epoch.history)
            events.write(epoch)
    lines = (tmp_path / HISTORY).read_text().splitlines()
    assert [json.loads(line) for line in lines] == epoch.history
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3]
    events = b"".join(path.read_bytes() for path in (tmp_path / "tensorboard").iterdir())
    assert b"val/uar" in events and b"step/loss" in events


def test_a_loss_that_is_not_finite_ends_the_run():
    train = random_clips(16)
    model = new_model("lstm", SMALL, train)
    with torch.no_grad():
        model.fc.bias[0] = float("nan")
    with pytest.raises(EmotionRayError, match="the loss is nan at epoch 1, step 1 of 2: train with a lower --lr"):
        next(fit(model, train, train, SMALL))


def test_a_model_broken_by_its_last_step_ends_the_run():
    train = random_clips(16)
    model = new_model("lstm", SMALL, train)
    model.register_forward_hook(lambda network, _, logits: logits if network.training else logits * np.inf)
    with pytest.raises(EmotionRayError, match="outputs are not finite after epoch 1: train with a lower --lr"):
        next(fit(model, train, train, SMALL))


@pytest.mark.parametrize(
    ("train", "validation", "change", "message"),
    [
        (random_clips(0), random_clips(8), {}, "no training clips"),
        (random_clips(8), random_clips(0), {}, "no validation clips"),
        (random_clips(7), random_clips(8), {}, "no training clip is surprised"),
        (
            random_clips(8, size=20),
            random_clips(8),
            {},
            "training clips are of 6 frames of 20x20 px, the model is",
        ),
        (random_clips(8), random_clips(8, frames=5), {}, "validation clips are of 5 frames"),
        (random_clips(8), random_clips(8), {"world_size": 3}, "3 workers can't share a batch of 8"),
        (random_clips(8), random_clips(8), {"resume": {}}, "checkpoint is not of this model"),
    ],
)
def test_what_can_not_be_trained_is_refused(train, validation, change, message):
    model = new_model("lstm", SMALL, random_clips(8))
    with pytest.raises(EmotionRayError, match=message):
        next(fit(model, train, validation, SMALL, **change))


def test_a_checkpoint_of_another_run_is_refused():
    train = random_clips(16)
    epoch = next(fit(new_model("lstm", SMALL, train), train, train, SMALL))
    state = epoch.checkpoint()
    with pytest.raises(EmotionRayError, match=r"run with lr 0\.001, not 0\.1"):
        next(fit(new_model("lstm", SMALL, train), train, train, replace(SMALL, lr=0.1), resume=state))
    with pytest.raises(EmotionRayError, match="checkpoint is not of this model"):
        next(fit(new_model("attention", SMALL, train), train, train, SMALL, resume=state))


def test_unknown_models_and_no_clips_are_refused():
    for name in ("both", "seed", "cnn"):
        with pytest.raises(EmotionRayError, match="give one of lstm, attention"):
            new_model(name, SMALL, random_clips(8))
    with pytest.raises(EmotionRayError, match="no training clips"):
        new_model("lstm", SMALL, random_clips(0))


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch": 0},
        {"lr": float("nan")},
        {"epochs": 1.5},
        {"seed": -1},
        {"schedule": "linear"},
        {"lr": "fast"},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(EmotionRayError, match=next(iter(wrong))):
        TrainSettings(**wrong)
