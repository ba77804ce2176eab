import functools
import html
import math
import re
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from html.parser import HTMLParser

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from fake_fits import LookupFit, make_clips
from one_after_another import evaluate
from sklearn.metrics import accuracy_score

from emotion_ray.errors import EmotionRayError
from emotion_ray.learning.comparison import UNMEASURED
from emotion_ray.learning.cost import Cost, measure_cost
from emotion_ray.learning.evaluate import describe
from emotion_ray.learning.explain import FrameImportance, explained, frame_importance
from emotion_ray.learning.pages import Document, Points, Section, Share, Table, Text, to_html, to_markdown
from emotion_ray.learning.plots import INK
from emotion_ray.learning.report import make_document, write_report
from emotion_ray.models.architectures import build
from emotion_ray.models.backbone import to_input
from emotion_ray.settings import AttentionSettings, LSTMSettings, TrainSettings

pytestmark = pytest.mark.slow

EVIL = "<script>alert('1')</script>|*$x$"


def evaluated(protocols=("random", "actor"), seeds=(0,), control=True, models=("lstm",), synthetic=False, **facts):
    clips = make_clips()
    data = replace(describe(clips, "FACES", synthetic), **facts)
    fits = {model: LookupFit(blur=2.0 + place) for place, model in enumerate(models)}
    return evaluate(clips, data, fits, protocols, seeds, control)


def texts(document):
    """All that a document says, section by section, as one string each."""
    return {section.title: "\n".join(_said(block) for block in section.blocks) for section in document.sections}


def _said(block):
    match block:
        case Text(text):
            return text
        case Table(columns, rows, caption):
            return "\n".join([caption, " ".join(columns), *(" ".join(map(str, row)) for row in rows)])
        case Points(items):
            return "\n".join(items)
    return ""


def document_of(evaluation, costs=None, importance=None):
    return make_document(evaluation, "Report", costs or {}, importance or {}, [])


@functools.cache
def standard_texts():
    """The texts of one model's report by both protocols, with a control."""
    return texts(document_of(evaluated()))


def cost(architecture="lstm"):
    return Cost(architecture, "cpu", 2, 1_500_000, 6_000_000, 8, 60, 0.4, 900_000_000, {30: 0.01, 60: 0.025})


def importance_of(attention):
    frames = np.zeros((10, 8, 8, 3), np.uint8)
    return FrameImportance(EVIL, 2, 3, 0.7, frames, np.linspace(-0.1, 0.4, 10), attention)


class Page(HTMLParser):
    """Keeps the tags, checks that each is closed, and collects text and what is loaded from elsewhere."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.outside, self.text = [], set(), [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)
        for name, value in attributes:
            assert not name.startswith("on")
            if name in ("src", "href", "xlink:href") and not value.startswith(("#", "data:")):
                self.outside.append(value)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run 1"
    evaluation = evaluated(models=(EVIL, "plain"), synthetic=True)
    shown = {EVIL: [importance_of(np.linspace(0.01, 0.19, 10))], "plain": [importance_of(None)]}
    page = write_report(folder, evaluation, "Two <models>", {EVIL: cost(), "plain": cost()}, shown, ["<b>remark</b>"])
    return folder, page.read_text("utf-8"), (folder / "report.md").read_text("utf-8")


def test_the_page_needs_nothing_else_and_is_well_formed(written):
    page = Page(written[1])
    assert page.outside == []
    assert "script" not in page.tags
    assert "url(http" not in written[1]
    assert "@import" not in written[1]
    assert {"svg", "table", "nav", "main", "style"} <= page.tags


def test_names_are_escaped_everywhere(written):
    _, page, text = written
    assert "<script" not in page
    assert EVIL in "".join(Page(page).text)
    assert "<b>remark" not in page
    assert "<models>" not in page
    assert not re.search(r"(?<!\\)<", text)
    rows = [line for line in text.splitlines() if line.startswith("|") and "alert" in line]
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert rows
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_light_and_dark(written):
    assert "prefers-color-scheme: dark" in written[1]
    assert "currentColor" in written[1]
    assert INK not in written[1]
    assert not re.search(r"(fill|stroke): #000000", written[1]), "black is not seen on a dark page"


def test_the_markdown_shows_every_picture_that_is_beside_it(written):
    folder, page, text = written
    shown = re.findall(r"\]\(([^)]*\.png)\)", text)
    assert sorted(shown) == sorted(path.name for path in folder.glob("*.png"))
    assert len(shown) == page.count("<svg")
    assert all(cv2.imread(str(folder / name)).std() > 5 for name in shown)


def test_both_forms_say_the_same_figures(written):
    _, page, text = written
    figures = set(re.findall(r"\d+\.\d+ \[\d+\.\d+, \d+\.\d+\]", page))
    assert len(figures) > 10
    assert figures == set(re.findall(r"\d+\.\d+ \[\d+\.\d+, \d+\.\d+\]", text.replace("\\", "")))


def test_the_synthetic_sample_is_always_called_that(written):
    _, page, text = written
    for form in (html.unescape(page), text.replace("\\", "")):
        assert "synthetic sample (FACES)" in form.splitlines()[0] + form[form.find("<title>") :][:80]
        assert "no RAVDESS results" in form
        assert "the two can't be compared" in form
    everywhere = page.count("<svg")
    assert everywhere > 5 and page.count("<!-- synthetic sample (FACES) -->") == everywhere
    document = document_of(evaluated(["random"], control=False))
    assert document.title == "Report: FACES"
    assert document.banner == Text("Data: FACES. 96 clips of 6 actors, 2 frames of 4x4 px.")


def test_the_report_shows_what_the_saved_predictions_give(written):
    folder = written[0]
    rows = pq.read_table(folder / "predictions.parquet").to_pylist()
    mine = [r for r in rows if (r["model"], r["protocol"], r["choice"]) == ("plain", "actor", "best")]
    accuracy = accuracy_score([r["emotion"] for r in mine], [int(np.argmax(r["logits"])) for r in mine])
    assert 0.2 < accuracy < 0.99
    line = next(row for row in written[2].splitlines() if "plain" in row and "unseen actors, best" in row)
    assert f"{100 * accuracy:.1f} " in line
    assert len((folder / "curves.jsonl").read_text().splitlines()) == 2 * (1 + 5 + 1) * 4


def test_only_the_best_epoch_of_the_random_split_is_selected_on_its_clips():
    results = standard_texts()["Results"].splitlines()
    labelled = [line for line in results if "selected on the same clips" in line]
    assert [line.startswith("lstm random split, best epoch") for line in labelled] == [True]
    assert any(line.startswith("lstm unseen actors, best epoch on validation actors") for line in results)
    assert any(line.startswith("blind guesses 96 predictions 12.5 12.5 [6.2, 19.8]") for line in results)


def test_a_control_outside_chance_is_called_out():
    warning = "look for leakage"
    assert warning not in standard_texts()["Results"]

    def leaking(clips, labels, train, validation, seed):
        fitted = LookupFit()(clips, labels, train, validation, seed)
        return replace(fitted, logits=lambda positions, choice: 5.0 * np.eye(8, dtype=np.float32)[labels[positions]])

    clips = make_clips()
    leak = evaluate(clips, describe(clips, "FACES", synthetic=False), {"leaking": leaking}, ["random"])
    assert warning in texts(document_of(leak))["Results"]


def test_a_control_that_always_names_the_commonest_emotion_is_none():
    clips = make_clips(per_class=4)
    common = replace(clips, emotion=np.where(clips.emotion < 3, 0, clips.emotion))  # three eighths of them

    def blind(clips, labels, train, validation, seed):
        fitted = LookupFit()(clips, labels, train, validation, seed)
        return replace(fitted, logits=lambda positions, choice: np.eye(8, dtype=np.float32)[0 * positions])

    found = evaluate(common, describe(common, "FACES", synthetic=False), {"blind": blind}, ["random"])
    assert "look for leakage" not in texts(document_of(found))["Results"]


def test_how_it_was_done_tells_what_was_done():
    both, one = standard_texts()["How it was done"], texts(document_of(evaluated(["actor"], control=False)))
    assert "Random split:" in both and "Unseen actors:" in both and "Control:" in both
    assert "Random split:" not in one["How it was done"] and "Control:" not in one["How it was done"]
    assert "Seeds, of splits and trainings: 0" in both


def test_twins_and_few_actors_are_called_out():
    assert "were tested on what was trained on" in texts(document_of(evaluated(twins=4)))["Results"]
    assert "were tested on" not in texts(document_of(evaluated(["actor"], control=False, twins=4)))["Results"]
    assert "from 6 actors is rough" in standard_texts()["Results"]
    assert "is rough" not in texts(document_of(evaluated(actors=24)))["Results"]


def test_a_random_split_alone_says_what_it_cannot_say():
    document = document_of(evaluated(["random"]))
    assert "faces they have not met" in texts(document)["Results"]
    assert "Random split, last epoch" in texts(document)["By actor"]
    assert "faces they have not met" not in standard_texts()["Results"]


def test_models_are_set_side_by_side_in_the_baselines_rows():
    evaluation = evaluated(models=("lstm", "attention"))
    shown = {"attention": [importance_of(np.linspace(0.01, 0.19, 10))]}
    said = texts(document_of(evaluation, {"attention": cost()}, shown))["The models compared"]
    rows = {line.split(maxsplit=1)[0]: line for line in said.splitlines()[2:]}
    assert list(rows) == ["Accuracy", "Training", "Memory", "Cost", "Interpretability"]
    assert rows["Accuracy"].count("on unseen actors") == 2
    assert all(rows[name].count(UNMEASURED) == 1 for name in ("Training", "Memory", "Cost", "Interpretability"))
    assert "0.400 s a step of 8 clips, 20.0 clips a second" in rows["Training"]
    assert "6.0 MB; training takes 900 MB" in rows["Memory"]
    assert "10.0 ms at 30, 25.0 ms at 60 frames; 2.50 times" in rows["Cost"]
    assert "takes 40.0 points" in rows["Interpretability"]
    assert "correlation of 1.00" in rows["Interpretability"]


def test_the_published_figures_stand_with_their_protocol():
    said = texts(document_of(evaluated(["random"], control=False)))["The baseline's published figures"]
    assert "LSTM 97% 80% 0.198 0.663" in said
    assert "attention 88% 73% 0.312 0.947" in said
    assert "10 actors, 600 clips" in said
    assert "not with unseen actors" in said


def test_differences_between_models_are_paired():
    said = texts(document_of(evaluated(models=("first", "second"), seeds=(0, 1))))["Results"]
    assert re.search(r"second minus first -\d+\.\d \[-\d+\.\d, [-+]\d+\.\d\]", said)
    assert re.search(r"second unseen actors, last epoch .* \d+\.\d ± \d+\.\d \(2\)", said)


def test_missing_values_are_shown_as_such():
    table = Table(["", "value"], [["none", Share(math.nan)], ["half", Share(0.5)]])
    document = Document("t", Text("b"), [], [Section("s", [table])])
    assert ">n/a<" in to_html(document)
    assert "| half | 50.0% |" in to_markdown(document)[0]


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EmotionRayError, match=r"can't write to .*file"):
        write_report(tmp_path / "file" / "run", evaluated(["random"], control=False), "t")


def small_model(architecture):
    torch.manual_seed(0)
    if architecture == "lstm":
        return build("lstm", LSTMSettings(hidden_size=8), 12, 8, 8)
    return build("attention", AttentionSettings(embedding=16, heads=2, feed_forward=16), 12, 8, 8)


@pytest.mark.parametrize("architecture", ["lstm", "attention"])
def test_occlusion_is_what_hiding_the_pixels_does(architecture):
    clips = make_clips(frames=12, size=8)
    clips.num_frames[1] = 9
    model = small_model(architecture)
    found = frame_importance(model, clips, [0, 1], window=3)
    assert [len(one.occlusion) for one in found] == [12, 9]
    one = found[1]
    for frame in (0, 4, 8):
        hidden = clips.frames[1, :9].copy()
        hidden[max(0, frame - 1) : frame + 2] = clips.frames[1, :9].mean(0).round()
        with torch.no_grad():
            both = model(to_input(torch.from_numpy(np.stack([clips.frames[1, :9], hidden])))).softmax(1).numpy()
        assert one.predicted == both[0].argmax()
        assert one.probability == pytest.approx(both[0, one.predicted], abs=1e-5)
        assert one.occlusion[frame] == pytest.approx(both[0, one.predicted] - both[1, one.predicted], abs=1e-5)
    if architecture == "attention":
        assert one.attention.sum() == pytest.approx(1, abs=1e-5)
        assert 1 <= explained(found).attended <= 12
    else:
        assert one.attention is None
        assert math.isnan(explained(found).attended)


@pytest.mark.slow
def test_costs_are_measured_in_a_process_of_their_own():
    settings = TrainSettings(batch=4, lstm=LSTMSettings(hidden_size=64))
    found = measure_cost("lstm", settings, frames=6, size=32, lengths=(10, 20), steps=2)
    model = build("lstm", settings.lstm, 6, 32, 8)
    assert found.parameters == sum(p.numel() for p in model.parameters())
    assert found.weight_bytes == 4 * found.parameters
    assert found.peak_bytes > 3 * found.weight_bytes, "weights, gradients and Adam's state at least"
    assert 0 < found.step_seconds < 5
    assert list(found.clip_seconds) == [10, 20]
    assert found.growth == found.clip_seconds[20] / found.clip_seconds[10]


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (MemoryError(), "needs more memory than there is"),
        (BrokenProcessPool(), "needs more memory than there is"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory\nmore of it"), "DefaultCPUAllocator: can't allocate"),
    ],
)
def test_a_cost_that_can_not_be_measured_is_one_line(monkeypatch, error, says):
    class Broken(ThreadPoolExecutor):
        def __init__(self, processes, mp_context):
            super().__init__(processes)

        def submit(self, *arguments):
            future = Future()
            future.set_exception(error)
            return future

    monkeypatch.setattr("emotion_ray.learning.cost.ProcessPoolExecutor", Broken)
    with pytest.raises(EmotionRayError, match=says) as caught:
        measure_cost("lstm", TrainSettings())
    assert "\n" not in str(caught.value)
