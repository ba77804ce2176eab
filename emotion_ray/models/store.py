"""Where trained models are kept: a folder each, with `model.pth`, `model.json` and `MODEL_CARD.md`.

A model is there when its `model.json` is, which is written last. It is never changed after that.
"""

import io
import re
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from emotion_ray.data.ravdess import EMOTIONS
from emotion_ray.data.storage import Folder
from emotion_ray.errors import EmotionRayError
from emotion_ray.models.architectures import Classifier, told_by_weights, with_weights
from emotion_ray.models.card import model_card
from emotion_ray.models.record import ModelRecord
from emotion_ray.models.weights import read_state_dict
from emotion_ray.settings.checks import demo_root, home_filled_in

WEIGHTS, RECORD, CARD = "model.pth", "model.json", "MODEL_CARD.md"
LARGEST_RECORD = 32 * 2**20  # bytes; that of a model trained on all of RAVDESS takes 0.1 MB
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model ready for use.

    Attributes:
        name: its name in the store, or the file's.
        model: on the CPU, float32, in evaluation mode.
        record: what is known of it.
    """

    name: str
    model: Classifier
    record: ModelRecord


def save_model(root: str | Path, name: str, weights: dict[str, Tensor], record: ModelRecord) -> str:
    """Puts a model into the store, whole or not at all.

    Args:
        root: the store's folder, a path or URI.
        name: of letters, digits, `.`, `_` and `-`, not beginning with a dot.
        weights: the state dict.
        record: what is known of the model.

    Returns:
        The path or URI of the model's folder.

    Raises:
        EmotionRayError: a name of another form or one that is taken, weights that are not of the record's
            model, or a folder that can't be written.
    """
    check_name(name)
    copied = {key: tensor.detach().cpu().contiguous() for key, tensor in weights.items()}
    with_weights(record.architecture, record.sizes, record.frames, record.size, len(record.labels), copied)
    store = Folder.at(root)
    where = f"{store.uri}/{name}"
    if has_model(root, name):
        raise EmotionRayError(f"there is a model {name} in {store.uri}: choose another name")
    stream = io.BytesIO()
    torch.save(copied, stream)
    being_written = f".{name}.{uuid.uuid4().hex[:8]}.part" if store.is_local else name
    try:
        store.publish(f"{being_written}/{WEIGHTS}", stream.getbuffer())
        store.publish(f"{being_written}/{CARD}", model_card(name, record).encode())
        store.publish(f"{being_written}/{RECORD}", record.to_json().encode())
        if store.is_local:
            Path(store.file(being_written)).rename(store.file(name))
    except OSError:  # only of the rename, and another process may have been faster
        raise EmotionRayError(f"there is a folder {name} in {store.uri}: choose another name") from None
    finally:
        if store.is_local:
            shutil.rmtree(store.file(being_written), ignore_errors=True)
    return where


def load_model(name_or_path: str | Path, root: str | Path) -> LoadedModel:
    """A model of the store by its name, or one by its path: a model's folder, or a `.pth` file.

    A `.pth` file that stands alone, as the baseline's do, tells its model and sizes by its weights. Its
    labels are RAVDESS's.

    Args:
        name_or_path: as above; a name in the store comes before a path.
        root: the store's folder, a path or URI.

    Raises:
        EmotionRayError: there is no such model, or it can't be read; the message says why.
    """
    text = str(name_or_path)
    if NAME.fullmatch(text) and has_model(root, text):
        return load_stored(root, text)
    path = home_filled_in(text)
    if path.name == WEIGHTS and (path.parent / RECORD).is_file():
        path = path.parent
    if path.is_file():
        return _load_alone(path)
    if (path / RECORD).is_file():
        return _load(Folder.at(path), path.resolve().name)
    names = ", ".join(model_names(root)) or f"none; {ways_to_a_model()}"
    raise EmotionRayError(f"there is no model {text!r}; in {root} are: {names}")


def ways_to_a_model() -> str:
    """What to do where a store has none: for messages to people of this machine."""
    return f"`emotion-ray train` makes one, and those of the demo are there with --root {demo_root()}"


def load_stored(root: str | Path, name: str) -> LoadedModel:
    """A model of the store. `name` is never taken for a path, so it may come from anyone.

    Raises:
        EmotionRayError: no name of a model, no such model, or it can't be read.
    """
    check_name(name)
    return _load(Folder.at(f"{str(root).rstrip('/')}/{name}"), name)


def read_record(root: str | Path, name: str) -> ModelRecord:
    """What is known of a model of the store, without its weights.

    Raises:
        EmotionRayError: no name of a model, no such model, or its record can't be read.
    """
    check_name(name)
    return _read_record(Folder.at(f"{str(root).rstrip('/')}/{name}"))


def model_names(root: str | Path) -> list[str]:
    """Names of the models in the store, sorted; none where there is no such folder."""
    store = Folder.at(root)
    names = [path.removesuffix(f"/{RECORD}") for path in store.names(f"/{RECORD}")]
    return [name for name in names if NAME.fullmatch(name)]


def has_model(root: str | Path, name: str) -> bool:
    """Whether there is a model of this name in the store."""
    return Folder.at(root).exists(f"{name}/{RECORD}")


def list_models(root: str | Path) -> dict[str, ModelRecord | EmotionRayError]:
    """The records of all models in the store by name; in place of one that can't be read, why not."""
    found: dict[str, ModelRecord | EmotionRayError] = {}
    for name in model_names(root):
        try:
            found[name] = read_record(root, name)
        except EmotionRayError as error:
            found[name] = error
    return found


def check_name(name: str) -> None:
    """Makes sure that a model can have this name.

    Raises:
        EmotionRayError: it can't.
    """
    if not NAME.fullmatch(name):
        raise EmotionRayError(
            f"{name!r:.120} is no name for a model: use at most 100 letters, digits, . _ -, and no dot first"
        )


def _load(folder: Folder, name: str) -> LoadedModel:
    record = _read_record(folder)
    weights = read_state_dict(folder, WEIGHTS)
    sizes = (record.sizes, record.frames, record.size, len(record.labels))
    try:
        return LoadedModel(name, with_weights(record.architecture, *sizes, weights), record)
    except EmotionRayError as error:
        raise EmotionRayError(f"{folder.uri}/{WEIGHTS} does not fit its {RECORD}: {error}") from None


def _read_record(folder: Folder) -> ModelRecord:
    path = f"{folder.uri}/{RECORD}"
    if not folder.exists(RECORD):
        raise EmotionRayError(f"there is no model in {folder.uri}: it has no {RECORD}")
    if folder.filesystem.get_file_info(folder.file(RECORD)).size > LARGEST_RECORD:
        raise EmotionRayError(f"{path} is larger than {LARGEST_RECORD:,} bytes: not loaded")
    try:
        return ModelRecord.from_json(folder.read(RECORD).decode())
    except OSError as error:
        raise EmotionRayError(f"can't read {path}: {error.strerror or error}; check the folder") from None
    except UnicodeDecodeError:
        raise EmotionRayError(f"{path} is no record of a model: it is no UTF-8 text") from None
    except EmotionRayError as error:
        raise EmotionRayError(f"{path} is no record of a model: {error}") from None


def _load_alone(path: Path) -> LoadedModel:
    weights = read_state_dict(Folder.at(path.parent), path.name)
    try:
        architecture, sizes, frames, size, classes = told_by_weights(weights)
        if classes != len(EMOTIONS):
            raise EmotionRayError(f"the weights are for {classes} classes, RAVDESS has {len(EMOTIONS)}")
        model = with_weights(architecture, sizes, frames, size, classes, weights)
        return LoadedModel(path.stem, model, ModelRecord(architecture, sizes, frames, size, EMOTIONS))
    except EmotionRayError as error:
        raise EmotionRayError(f"{path} is no model of ours: {error}") from None
