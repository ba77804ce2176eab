import io
import json
import multiprocessing
import os
import pickle
import zipfile
from dataclasses import replace

import pytest
import torch
from plain_models import PlainAttention, PlainLSTM

from emotion_ray.data.ravdess import EMOTIONS
from emotion_ray.errors import EmotionRayError
from emotion_ray.models import weights
from emotion_ray.models.architectures import build
from emotion_ray.models.card import model_card
from emotion_ray.models.record import ModelRecord
from emotion_ray.models.store import (
    list_models,
    load_model,
    load_stored,
    model_names,
    read_record,
    save_model,
)
from emotion_ray.settings import AttentionSettings, LSTMSettings

RECORDS = {
    "lstm": ModelRecord("lstm", LSTMSettings(hidden_size=8, bidirectional=True), 5, 8, EMOTIONS),
    "attention": ModelRecord(
        "attention", AttentionSettings(embedding=8, heads=2, feed_forward=4, norm="pre"), 5, 8, EMOTIONS
    ),
}
FULL = replace(
    RECORDS["lstm"],
    prepared_with=("abc123",),
    created="2026-01-31T12:00:00Z",
    seed=3,
    training={"lr": 0.001, "epochs": 30},
    data={"name": "RAVDESS", "synthetic": False, "clips": 600, "actors": 10, "licence": "CC BY-NC-SA 4.0"},
    protocol="actor folds",
    split={"train": ["a", "b"], "validation": ["c"]},
    metrics={"war": [0.61, 0.5, 0.7], "loss": 1.25, "epoch": 12},
    by_class={label: {"clips": 8, "recall": 0.5, "f1": 0.4} for label in EMOTIONS} | {"calm": {"recall": 0.25}},
    by_actor={"7": {"war": 0.75}, "12": {"war": float("nan")}},
    calibration={"temperature": 1.75, "ece_raw": 0.2, "ece_calibrated": 0.05},
)


def model_of(record):
    torch.manual_seed(0)
    return build(record.architecture, record.sizes, record.frames, record.size, len(record.labels)).eval()


def stored(root, name="first", record=RECORDS["lstm"]):
    save_model(root, name, model_of(record).state_dict(), record)
    return root / name


@pytest.mark.parametrize("record", [*RECORDS.values(), FULL])
def test_a_model_comes_back_as_it_was(tmp_path, record):
    folder = stored(tmp_path, record=record)
    assert sorted(path.name for path in folder.iterdir()) == ["MODEL_CARD.md", "model.json", "model.pth"]
    clips = torch.rand(2, 5, 3, 8, 8)
    for given in ("first", folder, folder / "model.pth"):
        loaded = load_model(given, tmp_path)
        assert loaded.name == "first" and not loaded.model.training
        assert loaded.record.labels == EMOTIONS and loaded.record.sizes == record.sizes
        assert torch.equal(loaded.model(clips), model_of(record)(clips))
    assert loaded.record.temperature == record.temperature
    assert all(parameter.requires_grad for parameter in loaded.model.parameters())


def test_a_store_may_be_named_by_a_uri(tmp_path):
    assert save_model(tmp_path.as_uri(), "m", model_of(FULL).state_dict(), FULL) == f"{tmp_path.as_uri()}/m"
    assert load_stored(tmp_path.as_uri(), "m").record.metrics == FULL.metrics


@pytest.mark.slow
@pytest.mark.parametrize("plain", [PlainLSTM, PlainAttention])
def test_a_baseline_file_gives_the_baseline_logits(plain, tmp_path):
    torch.manual_seed(0)
    reference = plain().eval()
    torch.save(reference.state_dict(), tmp_path / "lstm_model.pth")
    loaded = load_model(tmp_path / "lstm_model.pth", tmp_path / "store")
    frames = torch.rand(1, 60, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(frames), reference(frames), rtol=0, atol=2e-6)
    assert loaded.name == "lstm_model" and loaded.record.labels == EMOTIONS
    assert (loaded.record.frames, loaded.record.size) == (60, 64)


def test_models_are_listed_and_a_broken_one_is_named(tmp_path):
    assert model_names(tmp_path / "nothing") == [] and list_models(tmp_path / "nothing") == {}
    stored(tmp_path, "b", FULL)
    stored(tmp_path, "a.2")
    (stored(tmp_path, "broken") / "model.json").write_text("{")
    (tmp_path / ".half.12ab.part").mkdir()
    (tmp_path / ".half.12ab.part" / "model.json").write_text("{")
    found = list_models(tmp_path)
    assert list(found) == model_names(tmp_path) == ["a.2", "b", "broken"]
    assert found["b"].protocol == "actor folds" == read_record(tmp_path, "b").protocol
    assert "broken/model.json is no record of a model: it is no JSON" in str(found["broken"])


def test_a_model_is_never_overwritten(tmp_path):
    before = (stored(tmp_path) / "model.json").stat()
    with pytest.raises(EmotionRayError, match=r"there is a model first in .*: choose another name"):
        stored(tmp_path)
    assert (tmp_path / "first" / "model.json").stat() == before
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    with pytest.raises(EmotionRayError, match="there is a folder taken"):
        stored(tmp_path, "taken")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "taken"]


def _save_at_once(root, barrier, number, wins):
    record = replace(RECORDS["lstm"], seed=number)
    state = model_of(record).state_dict()
    barrier.wait()
    try:
        save_model(root, "same", state, record)
        wins.put(number)
    except EmotionRayError:
        wins.put(None)


@pytest.mark.slow
def test_of_two_that_save_at_once_one_wins(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    barrier, wins = spawn.Barrier(2), spawn.Queue()
    savers = [spawn.Process(target=_save_at_once, args=(tmp_path, barrier, number, wins)) for number in (1, 2)]
    for saver in savers:
        saver.start()
    outcome = {wins.get(timeout=60), wins.get(timeout=60)}
    for saver in savers:
        saver.join()
    winner = (outcome - {None}).pop()
    assert outcome == {winner, None}
    assert load_stored(tmp_path, "same").record.seed == winner
    assert [path.name for path in tmp_path.iterdir()] == ["same"]


@pytest.mark.parametrize("name", ["", ".hidden", "..", "a/b", "../a", "a b", "ä", "a\n", "x" * 101, "a\0"])
def test_other_names_are_refused(tmp_path, name):
    with pytest.raises(EmotionRayError, match="no name for a model"):
        stored(tmp_path / "store", name)
    with pytest.raises(EmotionRayError, match="no name for a model"):
        load_stored(tmp_path, name)
    assert not (tmp_path / "store").exists()


def test_weights_of_another_model_are_not_stored(tmp_path):
    with pytest.raises(EmotionRayError, match="not of this attention model"):
        save_model(tmp_path, "m", model_of(RECORDS["lstm"]).state_dict(), RECORDS["attention"])
    assert not list(tmp_path.iterdir())


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil",)


@pytest.mark.parametrize("alone", [True, False])
def test_a_pickle_that_would_run_code_is_refused(tmp_path, monkeypatch, alone):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pth" if alone else stored(tmp_path) / "model.pth"
    torch.save({"cnn.0.weight": Evil()}, path)
    with pytest.raises(EmotionRayError, match=r"\.pth holds more than tensors and could run code: refused"):
        load_model(path, tmp_path)
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(EmotionRayError, match="no PyTorch file or is damaged"):
        load_model(path, tmp_path)
    assert not (tmp_path / "evil").exists()


def _as_file(thing):
    stream = io.BytesIO()
    torch.save(thing, stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no PyTorch file"),
        (b"hello", "no PyTorch file"),
        (
            _as_file(build("lstm", LSTMSettings(), 5, 8, 8).state_dict())[:-100],
            "no PyTorch file or is damaged",
        ),
        (_as_file([1, 2]), "holds no state dict"),
        (_as_file({}), "holds no state dict"),
        (_as_file({"a": 1}), "'a' is no tensor"),
        (_as_file({"a": torch.ones(2, dtype=torch.int64)}), "'a' is no tensor of weights"),
        (_as_file({"a": torch.tensor([1.0, float("inf")])}), "'a' is too large or not finite"),
        (_as_file({"a": torch.zeros(1).expand(2**33)}), "'a' is too large"),
        (_as_file({"a": torch.zeros(1).expand(2)}), "'a' is too large"),  # though few, more than its file holds
        (_as_file({"a": torch.zeros(3)}), "neither the lstm nor the attention"),
        (_as_file({"lstm.weight_hh_l0": torch.zeros(4)}), "neither the lstm nor the attention"),
        (_as_file({"lstm.weight_hh_l0": torch.zeros(4, 5000)}), "hidden_size is 5000"),
        (_as_file(build("lstm", LSTMSettings(), 5, 8, 6).state_dict()), "for 6 classes, RAVDESS has 8"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    with pytest.raises(EmotionRayError, match=message) as error:
        load_model(path, tmp_path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_file_that_unpacks_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "LARGEST_FILE", 2**20)
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data.pkl", b".")
        archive.writestr("model/data/0", bytes(2**21))
    assert path.stat().st_size < 2**13
    with pytest.raises(EmotionRayError, match=r"unpacks to 2,097,153 bytes, over 1,048,576: not loaded"):
        load_model(path, tmp_path)


def test_a_missing_model_is_named_with_those_there_are(tmp_path):
    nothing = (
        r"there is no model 'second'; in .* are: none; `emotion-ray train` makes one, and those of the demo are there"
    )
    with pytest.raises(EmotionRayError, match=nothing):
        load_model("second", tmp_path)
    stored(tmp_path)
    with pytest.raises(EmotionRayError, match=r"there is no model 'second'; in .* are: first"):
        load_model("second", tmp_path)
    with pytest.raises(EmotionRayError, match=r"there is no model in .*second"):
        load_stored(tmp_path, "second")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "not of format 1"),
        ({"architecture": "gru"}, "no model 'gru' is known"),
        ({"architecture": ["lstm"]}, "no model .* is known"),
        ({"architecture": "attention"}, "expected the fields of AttentionSettings"),
        ({"sizes": None}, "no model 'lstm' is known"),
        ({"sizes": {"hidden_size": 8}}, "expected the fields of LSTMSettings"),
        ({"sizes": vars(LSTMSettings()) | {"hidden_size": 10**9}}, "hidden_size is 1000000000"),
        ({"sizes": vars(LSTMSettings()) | {"hidden_size": True}}, "hidden_size is True"),
        ({"frames": 10**9}, "frames is 1000000000"),
        ({"frames": 5.0}, r"frames is 5\.0"),
        ({"size": "8"}, "size is '8'"),
        ({"labels": ["a"] * 8}, "different names"),
        ({"labels": ["a", 1]}, "short lines"),
        ({"labels": "abcdefgh"}, "short lines"),
        ({"labels": ["a", "b\n# c"]}, "short lines"),
        ({"labels": list("abcdef")}, "does not fit its model.json"),
        ({"frames": 6, "size": 12}, "does not fit its model.json"),
        ({"protocol": "two\nlines"}, "protocol is"),
        ({"metrics": []}, "expected an object"),
        ({"split": {"train": "take-1"}}, "split of .train. is .take-1.: expected a list"),
        ({"by_class": {"calm": {"recall": "high"}}}, "expected numbers"),
        ({"by_actor": {"1": 3}}, "expected numbers"),
        ({"calibration": {"temperature": 0}}, "temperature is 0"),
        ({"calibration": {"temperature": float("nan")}}, "temperature is nan"),
        ({"calibration": {"temperature": [1]}}, "expected numbers"),
        ({"extra": 1}, "'extra' is unknown"),
        ({"seed": None}, "seed is None"),
    ],
)
def test_a_record_made_wrongly_is_refused(tmp_path, change, message):
    path = stored(tmp_path) / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(EmotionRayError, match=message) as error:
        load_stored(tmp_path, "first")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", [b"\xff\xfe", b"[]", b"null", b"[" * 100_000, b'{"format": 1}', b""])
def test_what_is_no_record_is_refused(tmp_path, text):
    (stored(tmp_path) / "model.json").write_bytes(text)
    with pytest.raises(EmotionRayError, match="is no record of a model"):
        load_stored(tmp_path, "first")


def test_the_card_says_what_was_measured():
    card = model_card("best-1", FULL)
    for words in (
        "# best-1",
        "RAVDESS: 600 clips of 10 actors. Licence: CC BY-NC-SA 4.0. Weights trained on it inherit its terms",
        "Protocol: actor folds",
        "| war | 0.610 (95% interval 0.500 to 0.700) |",
        "| loss | 1.250 |",
        "| calm | - | 0.250 | - |",
        "| 7 | 0.750 |",
        "| 12 | - |",
        "| temperature | 1.750 |",
        "train: 2 clips, validation: 1 clips",
        "Art. 5(1)(f)",
        "24 North American actors",
    ):
        assert words in card
    assert "synthetic" not in card


def test_the_card_of_a_synthetic_sample_says_so():
    synthetic = replace(FULL, data={"name": "sample", "synthetic": True, "licence": "public domain"})
    card = model_card("m", synthetic)
    assert "**It was trained on a synthetic sample**" in card
    assert "North American" not in card and "inherit" not in card


def test_the_card_does_not_invent_figures():
    card = model_card("m", RECORDS["lstm"])
    assert card.count("Not measured.") == 4 and "North American" not in card
    assert "Unknown data: an unknown number of clips" in card and "Protocol: not stated" in card


def test_a_card_can_not_be_given_markup():
    card = model_card("m", replace(FULL, by_actor={"<script>|x\n# y": {"war": 1.0}}))
    assert "<script>" not in card and r"&lt;script>\|x # y" in card
