"""Which frames of a clip a model's answer rests on."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import entropy, spearmanr

from emotion_ray.data.clips import Clips
from emotion_ray.data.storage import Folder, cause_of
from emotion_ray.errors import EmotionRayError
from emotion_ray.models.architectures import Classifier
from emotion_ray.models.attention import AttentionClassifier
from emotion_ray.models.backbone import to_input

IMPORTANCE = "importance.json"
WINDOW = 5  # frames, a sixth of a second: one frame hidden between its near-twins changes next to nothing


@dataclass(frozen=True, eq=False)
class FrameImportance:
    """What each of the n real frames of a clip means to a model.

    Attributes:
        clip_id: of the clip.
        emotion, predicted: 0..7, the true and the predicted class.
        probability: 0..1, of the predicted class.
        frames: uint8 [n, S, S, 3] RGB.
        occlusion: float [n], -1..1: how much the predicted class's probability falls when the frame and its
            neighbours are hidden; below 0 where it rises.
        attention: float [n], summing to 1, of the attention model; else None.
    """

    clip_id: str
    emotion: int
    predicted: int
    probability: float
    frames: np.ndarray
    occlusion: np.ndarray
    attention: np.ndarray | None


@dataclass(frozen=True)
class Explained:
    """How much can be read off a model's frames, as means over clips.

    Attributes:
        clips: how many.
        most, least: -1..1, what hiding the window that matters most (least) takes from the prediction.
        attended: frames that attention is spread over, exp(entropy), 1..n; nan without attention.
        agreement: Spearman's rank correlation of attention and occlusion, -1..1, over clips in which it makes a
            difference what is hidden; nan without attention.
    """

    clips: int
    most: float
    least: float
    attended: float
    agreement: float


@torch.inference_mode()
def frame_importance(
    model: Classifier, clips: Clips, positions: Sequence[int], window: int = WINDOW
) -> list[FrameImportance]:
    """Attention over frames, and what is lost when frames are hidden.

    A hidden frame is replaced by the mean picture of its clip: the face stays, the motion goes (occlusion:
    Zeiler and Fergus, 2014, "Visualizing and understanding convolutional networks", here over time). Each
    frame goes through the backbone once.

    Args:
        model: on any device; it is put in evaluation mode.
        clips: of the model's frame size.
        positions: which clips.
        window: frames hidden at once, centred on each frame in turn; odd.
    """
    model.eval()
    device = next(model.parameters()).device
    found = []
    for position in positions:
        count = int(clips.num_frames[position])
        frames = clips.frames[position, :count]
        mean_picture = frames.mean(0, keepdims=True).round().astype(np.uint8)
        pixels = torch.from_numpy(np.concatenate([frames, mean_picture])).to(device)
        features = model.encode_frames(to_input(pixels))
        seen, hidden = features[:count], features[count]
        places = torch.arange(count, device=device)
        near = (places[:, None] - places[None, :]).abs() <= window // 2
        variants = torch.where(near[:, :, None], hidden, seen)
        probs = model.classify_features(torch.cat([seen[None], variants])).double().softmax(1).cpu().numpy()
        predicted = int(probs[0].argmax())
        attends = isinstance(model, AttentionClassifier)
        found.append(
            FrameImportance(
                clip_id=clips.clip_id[position],
                emotion=int(clips.emotion[position]),
                predicted=predicted,
                probability=float(probs[0, predicted]),
                frames=frames,
                occlusion=probs[0, predicted] - probs[1:, predicted],
                attention=model.frame_attention(seen[None])[0].double().cpu().numpy() if attends else None,
            )
        )
    return found


def save_importance(folder: Path, found: Sequence[FrameImportance]) -> None:
    """Writes `importance.json`, all but the frames, which the clips have, into a folder.

    Raises:
        EmotionRayError: the folder can't be written.
    """
    rows = [{name: value for name, value in vars(one).items() if name != "frames"} for one in found]
    Folder.at(folder).publish(IMPORTANCE, json.dumps(rows, default=np.ndarray.tolist).encode())


def load_importance(folder: Path, clips: Clips) -> list[FrameImportance]:
    """What `save_importance` wrote, of some of these clips.

    Raises:
        EmotionRayError: the file is missing or damaged.
    """
    try:
        found = []
        for row in json.loads((folder / IMPORTANCE).read_text()):
            position = clips.clip_id.index(row["clip_id"])
            attention = None if row["attention"] is None else np.array(row["attention"])
            arrays = {"occlusion": np.array(row["occlusion"]), "attention": attention}
            frames = clips.frames[position, : len(row["occlusion"])]
            found.append(FrameImportance(**row | arrays, frames=frames))
        return found
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EmotionRayError(f"can't read {folder / IMPORTANCE} ({cause_of(error)}): begin another run") from None


def explained(found: Sequence[FrameImportance]) -> Explained:
    """Means over clips; see `Explained`."""
    both = [(one.attention, one.occlusion) for one in found if one.attention is not None]
    return Explained(
        clips=len(found),
        most=float(np.mean([one.occlusion.max() for one in found])),
        least=float(np.mean([one.occlusion.min() for one in found])),
        attended=float(np.mean([np.exp(entropy(attention)) for attention, _ in both])) if both else math.nan,
        agreement=float(np.mean([spearmanr(*pair).statistic for pair in both if np.ptp(pair[1])] or [math.nan])),
    )
