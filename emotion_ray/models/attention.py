"""CNN and self-attention: every frame looks at every other, and their mean says which emotion."""

import torch
from torch import Tensor, nn

from emotion_ray.models.backbone import Backbone, feature_count
from emotion_ray.settings import AttentionSettings


class AttentionClassifier(nn.Module):
    """Backbone, embedding with learned positions, transformer encoder, mean over real frames, linear."""

    architecture = "attention"

    def __init__(self, settings: AttentionSettings, frames: int, size: int, classes: int):
        """
        Args:
            settings: sizes.
            frames: T, the positions that are learned; shorter clips are taken too.
            size: S, height and width of a frame in px.
            classes: C, emotions to tell apart.
        """
        super().__init__()
        self.settings, self.frames, self.size, self.classes = settings, frames, size, classes
        self.cnn = Backbone()
        self.fc_embed = nn.Linear(feature_count(size), settings.embedding)
        self.pos_embedding = nn.Parameter(torch.randn(1, frames, settings.embedding))
        layer = nn.TransformerEncoderLayer(
            settings.embedding,
            settings.heads,
            dim_feedforward=settings.feed_forward,
            dropout=settings.dropout,
            norm_first=settings.norm == "pre",
            batch_first=True,
        )
        self.attention = nn.TransformerEncoder(
            layer,
            settings.layers,
            norm=nn.LayerNorm(settings.embedding) if settings.norm == "pre" else None,
            enable_nested_tensor=False,
        )
        self.classifier = nn.Linear(settings.embedding, classes)

    def forward(self, frames_BTCHW: Tensor, num_frames_B: Tensor | None = None) -> Tensor:
        """Logits [B, C] of clips; see `encode_frames` and `classify_features`, of which it is made."""
        return self.classify_features(self.encode_frames(frames_BTCHW), num_frames_B)

    def encode_frames(self, frames: Tensor) -> Tensor:
        """The embedding of each frame, before its position in the clip is added.

        Args:
            frames: float [N, 3, S, S] or [B, T, 3, S, S] in 0..1, RGB.

        Returns:
            float [N, F] or [B, T, F], F = the embedding's size.
        """
        return self.fc_embed(self.cnn(frames.flatten(0, -4))).unflatten(0, frames.shape[:-3])

    def classify_features(self, features_BTF: Tensor, num_frames_B: Tensor | None = None) -> Tensor:
        """Logits of clips from what `encode_frames` gave for each frame.

        Args:
            features_BTF: float [B, T, F], T from 1 to the model's frames.
            num_frames_B: int64 [B], frames before padding, 1..T; None: no frame is padded.

        Returns:
            float [B, C].
        """
        padded_BT = _padded(features_BTF, num_frames_B)
        encoded = self.attention(self._with_positions(features_BTF), src_key_padding_mask=padded_BT)
        if padded_BT is None:
            return self.classifier(encoded.mean(dim=1))
        real_BT1 = (~padded_BT).unsqueeze(-1)
        return self.classifier((encoded * real_BT1).sum(dim=1) / real_BT1.sum(dim=1))

    @torch.no_grad()
    def attention_maps(self, features_BTF: Tensor, num_frames_B: Tensor | None = None) -> Tensor:
        """How much each frame looks at each other frame, dropout left out.

        Args:
            features_BTF, num_frames_B: as for `classify_features`.

        Returns:
            float [B, layers, heads, T, T]; the weights over the last axis (the frames looked at) sum to 1,
            and padded frames get 0.
        """
        padded_BT = _padded(features_BTF, num_frames_B)
        was_training = self.training
        self.eval()
        x, maps = self._with_positions(features_BTF), []
        for number, layer in enumerate(self.attention.layers, start=1):
            seen = layer.norm1(x) if layer.norm_first else x
            attend = layer.self_attn
            maps.append(attend(seen, seen, seen, key_padding_mask=padded_BT, average_attn_weights=False)[1])
            if number < len(self.attention.layers):  # what the last one gives is no frame's to look at
                x = layer(x, src_key_padding_mask=padded_BT)
        self.train(was_training)
        return torch.stack(maps, dim=1)

    def frame_attention(self, features_BTF: Tensor, num_frames_B: Tensor | None = None) -> Tensor:
        """The attention each frame gets: of the last layer, over heads and real frames that look, on average.

        Returns:
            float [B, T], summing to 1 for each clip, 0 where padded.
        """
        last_BHTT = self.attention_maps(features_BTF, num_frames_B)[:, -1]
        by_looker_BTT = last_BHTT.mean(dim=1)
        padded_BT = _padded(features_BTF, num_frames_B)
        if padded_BT is None:
            return by_looker_BTT.mean(dim=1)
        real_BT1 = (~padded_BT).unsqueeze(-1)
        return (by_looker_BTT * real_BT1).sum(dim=1) / real_BT1.sum(dim=1)

    def _with_positions(self, features_BTF: Tensor) -> Tensor:
        return features_BTF + self.pos_embedding[:, : features_BTF.shape[1]]


def _padded(features_BTF: Tensor, num_frames_B: Tensor | None) -> Tensor | None:
    """bool [B, T], true where a frame is padding; None where none is."""
    if num_frames_B is None:
        return None
    places_T = torch.arange(features_BTF.shape[1], device=features_BTF.device)
    return places_T >= num_frames_B.to(features_BTF.device).unsqueeze(-1)
