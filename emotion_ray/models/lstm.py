"""CNN and LSTM: the frames in turn move a state, and the state after the last one says which emotion."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from emotion_ray.models.backbone import Backbone, feature_count
from emotion_ray.settings import LSTMSettings


class LSTMClassifier(nn.Module):
    """Backbone, LSTM, and a linear layer on the hidden state after the last real frame.

    The first layer's input projection does not depend on the frames before, so it belongs to `encode_frames`:
    live use does it once a frame, not once a window.
    """

    architecture = "lstm"

    def __init__(self, settings: LSTMSettings, frames: int, size: int, classes: int):
        """
        Args:
            settings: sizes.
            frames: T, frames a clip; the LSTM itself takes any number.
            size: S, height and width of a frame in px.
            classes: C, emotions to tell apart.
        """
        super().__init__()
        self.settings, self.frames, self.size, self.classes = settings, frames, size, classes
        self.cnn = Backbone()
        self.lstm = nn.LSTM(
            feature_count(size),
            settings.hidden_size,
            num_layers=settings.layers,
            bidirectional=settings.bidirectional,
            dropout=settings.dropout if settings.layers > 1 else 0.0,
            batch_first=True,
        )
        self.dropout = nn.Dropout(settings.dropout)
        self.fc = nn.Linear(settings.hidden_size * self._directions, classes)

    @property
    def _directions(self) -> int:
        return 2 if self.settings.bidirectional else 1

    def forward(self, frames_BTCHW: Tensor, num_frames_B: Tensor | None = None) -> Tensor:
        """Logits [B, C] of clips; see `encode_frames` and `classify_features`, of which it is made."""
        return self.classify_features(self.encode_frames(frames_BTCHW), num_frames_B)

    def encode_frames(self, frames: Tensor) -> Tensor:
        """What the LSTM's gates take from each frame, `W_ih x + b_ih` of the first layer.

        Args:
            frames: float [N, 3, S, S] or [B, T, 3, S, S] in 0..1, RGB.

        Returns:
            float [N, F] or [B, T, F], F = 4 * hidden size, twice that if bidirectional.
        """
        features = self.cnn(frames.flatten(0, -4))
        weight, bias = self.lstm.weight_ih_l0, self.lstm.bias_ih_l0
        if self.settings.bidirectional:
            weight = torch.cat([weight, self.lstm.weight_ih_l0_reverse])
            bias = torch.cat([bias, self.lstm.bias_ih_l0_reverse])
        return nn.functional.linear(features, weight, bias).unflatten(0, frames.shape[:-3])

    def classify_features(self, features_BTF: Tensor, num_frames_B: Tensor | None = None) -> Tensor:
        """Logits of clips from what `encode_frames` gave for each frame.

        Args:
            features_BTF: float [B, T, F], T at least 1.
            num_frames_B: int64 [B], frames before padding, 1..T; None: no frame is padded.

        Returns:
            float [B, C].
        """
        last_hidden = self._last_hidden(features_BTF, num_frames_B)
        last_layer = last_hidden[-self._directions :]
        return self.fc(self.dropout(last_layer.transpose(0, 1).flatten(1)))

    def _last_hidden(self, features_BTF: Tensor, num_frames_B: Tensor | None) -> Tensor:
        """Each layer's hidden state after the last real frame [layers * directions, B, hidden].

        This is PyTorch's own LSTM, with the identity for the first layer's input weights: that projection is
        done already.
        """
        lstm = self.lstm
        weights = [weight for layer in lstm.all_weights for weight in layer]
        features_BTF = features_BTF.to(weights[0].dtype)
        gates = 4 * lstm.hidden_size
        identity = torch.eye(gates * self._directions, dtype=features_BTF.dtype, device=features_BTF.device)
        for direction in range(self._directions):
            weights[4 * direction] = identity[gates * direction : gates * (direction + 1)]
            weights[4 * direction + 2] = torch.zeros_like(weights[4 * direction + 2])
        if features_BTF.is_cuda:
            weights = in_one_piece(weights)
        state = features_BTF.new_zeros(lstm.num_layers * self._directions, len(features_BTF), lstm.hidden_size)
        how = (True, lstm.num_layers, lstm.dropout, self.training, lstm.bidirectional)
        with torch.autocast(features_BTF.device.type, enabled=False):  # rounding adds up over the frames
            if num_frames_B is None:
                return torch.lstm(features_BTF, (state, state), weights, *how, True)[1]
            lengths = num_frames_B.cpu()  # DistributedDataParallel moves all that a model is given to its GPU
            packed = pack_padded_sequence(features_BTF, lengths, batch_first=True, enforce_sorted=False)
            hidden = torch.lstm(packed.data, packed.batch_sizes, (state, state), weights, *how)[1]
            return hidden.index_select(1, packed.unsorted_indices)


def in_one_piece(weights: list[Tensor]) -> list[Tensor]:
    """The same weights, one after the other in memory as cuDNN wants them: all matrices, then all biases.

    It would copy them itself at every call, and warn of it.
    """
    in_order = [one for one in weights if one.dim() == 2] + [one for one in weights if one.dim() == 1]
    flat = torch.cat([one.flatten() for one in in_order]).split([one.numel() for one in in_order])
    placed = iter(flat[: len(weights) // 2]), iter(flat[len(weights) // 2 :])
    return [next(placed[2 - one.dim()]).view(one.shape) for one in weights]
