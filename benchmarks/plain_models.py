"""The baseline's two models and its training, as plainly as PyTorch has them: what ours are compared with."""

import torch
from torch import Tensor, nn


class PlainLSTM(nn.Module):
    def __init__(self, size: int = 64):
        super().__init__()
        self.cnn = plain_backbone()
        self.lstm = nn.LSTM(32 * (size // 4) ** 2, 128, batch_first=True)
        self.fc = nn.Linear(128, 8)

    def forward(self, frames_BTCHW: Tensor) -> Tensor:
        B, T = frames_BTCHW.shape[:2]
        features = self.cnn(frames_BTCHW.reshape(B * T, *frames_BTCHW.shape[2:]))
        _, (hidden, _) = self.lstm(features.reshape(B, T, -1))
        return self.fc(hidden[-1])


class PlainAttention(nn.Module):
    def __init__(self, size: int = 64, frames: int = 60):
        super().__init__()
        self.cnn = plain_backbone()
        self.fc_embed = nn.Linear(32 * (size // 4) ** 2, 256)
        self.pos_embedding = nn.Parameter(torch.randn(1, frames, 256))
        layer = nn.TransformerEncoderLayer(256, 4, dim_feedforward=2048, dropout=0.1, batch_first=True)
        self.attention = nn.TransformerEncoder(layer, 1)
        self.classifier = nn.Linear(256, 8)

    def forward(self, frames_BTCHW: Tensor) -> Tensor:
        B, T = frames_BTCHW.shape[:2]
        features = self.cnn(frames_BTCHW.reshape(B * T, *frames_BTCHW.shape[2:]))
        embedded = self.fc_embed(features.reshape(B, T, -1)) + self.pos_embedding
        return self.classifier(self.attention(embedded).mean(dim=1))


def plain_backbone() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
    )


def plain_step(model: nn.Module, optimizer: torch.optim.Optimizer, frames_BTCHW: Tensor, labels_B: Tensor) -> Tensor:
    """One training step as the baseline makes it; gives the loss.

    Args:
        frames_BTCHW: float in 0..1.
        labels_B: int64, 0..7.
    """
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(frames_BTCHW), labels_B)
    loss.backward()
    optimizer.step()
    return loss.detach()
