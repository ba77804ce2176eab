"""From crops to features, and from windows of features to probabilities: each frame goes through once."""

from collections.abc import Sequence

import numpy as np
import torch

from emotion_ray.inference.face_track import BufferedFrame
from emotion_ray.inference.observation import Prediction
from emotion_ray.models.backbone import to_input
from emotion_ray.models.store import LoadedModel


class WindowClassifier:
    """A model used frame by frame. Its logits are those of the whole window at once, to rounding.

    What does not depend on other frames (backbone, and the LSTM's or the attention model's input projection) is
    computed once a frame by `encode`; what is left is computed once a window.
    """

    def __init__(self, loaded: LoadedModel):
        self._model = loaded.model
        self._labels = loaded.record.labels
        self._temperature = loaded.record.temperature
        self.size, self.length = loaded.model.size, loaded.model.frames

    @torch.inference_mode()
    def encode(self, crops: Sequence[np.ndarray]) -> torch.Tensor:
        """Features of N crops, each uint8 [S, S, 3] RGB: float32 [N, F]."""
        return self._model.encode_frames(to_input(torch.from_numpy(np.stack(crops))))

    @torch.inference_mode()
    def predict(self, windows: Sequence[list[BufferedFrame]]) -> list[Prediction]:
        """A prediction for each window of 1 to T frames, all equally long."""
        features_BTF = torch.stack([torch.stack([frame.features for frame in window]) for window in windows])
        probs_BC = torch.softmax(self._model.classify_features(features_BTF) / self._temperature, dim=1).numpy()
        attention_BT = [None] * len(windows)
        if self._model.architecture == "attention":
            attention_BT = self._model.frame_attention(features_BTF).numpy()
        return [
            Prediction(window[-1].time, probs, self._labels, len(window), len(window) < self.length, attention)
            for window, probs, attention in zip(windows, probs_BC, attention_BT, strict=True)
        ]
