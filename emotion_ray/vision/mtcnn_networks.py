"""The three networks of the MTCNN cascade, with facenet-pytorch's weights."""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from emotion_ray.errors import EmotionRayError


class PNet(nn.Module):
    """First stage, fully convolutional. Float32 [B, 3, h, w] in -1..1 to logits [B, 2, ...], shifts [B, 4, ...]."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 10, 3)
        self.prelu1 = nn.PReLU(10)
        self.conv2 = nn.Conv2d(10, 16, 3)
        self.prelu2 = nn.PReLU(16)
        self.conv3 = nn.Conv2d(16, 32, 3)
        self.prelu3 = nn.PReLU(32)
        self.conv4_1 = nn.Conv2d(32, 2, 1)
        self.conv4_2 = nn.Conv2d(32, 4, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = F.max_pool2d(self.prelu1(self.conv1(x)), 2, 2, ceil_mode=True)
        x = self.prelu3(self.conv3(self.prelu2(self.conv2(x))))
        return self.conv4_1(x), self.conv4_2(x)


class RNet(nn.Module):
    """Second stage. Float32 [N, 3, 24, 24] in -1..1 to logits [N, 2] and box shifts [N, 4]."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 28, 3)
        self.prelu1 = nn.PReLU(28)
        self.conv2 = nn.Conv2d(28, 48, 3)
        self.prelu2 = nn.PReLU(48)
        self.conv3 = nn.Conv2d(48, 64, 2)
        self.prelu3 = nn.PReLU(64)
        self.dense4 = nn.Linear(576, 128)
        self.prelu4 = nn.PReLU(128)
        self.dense5_1 = nn.Linear(128, 2)
        self.dense5_2 = nn.Linear(128, 4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = F.max_pool2d(self.prelu1(self.conv1(x)), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self.prelu2(self.conv2(x)), 3, 2, ceil_mode=True)
        x = self.prelu3(self.conv3(x))
        x = self.prelu4(self.dense4(_flatten_column_major(x)))
        return self.dense5_1(x), self.dense5_2(x)


class ONet(nn.Module):
    """Third stage. Float32 [N, 3, 48, 48] in -1..1 to logits [N, 2] and box shifts [N, 4]."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3)
        self.prelu1 = nn.PReLU(32)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.prelu2 = nn.PReLU(64)
        self.conv3 = nn.Conv2d(64, 64, 3)
        self.prelu3 = nn.PReLU(64)
        self.conv4 = nn.Conv2d(64, 128, 2)
        self.prelu4 = nn.PReLU(128)
        self.dense5 = nn.Linear(1152, 256)
        self.prelu5 = nn.PReLU(256)
        self.dense6_1 = nn.Linear(256, 2)
        self.dense6_2 = nn.Linear(256, 4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = F.max_pool2d(self.prelu1(self.conv1(x)), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self.prelu2(self.conv2(x)), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self.prelu3(self.conv3(x)), 2, 2, ceil_mode=True)
        x = self.prelu4(self.conv4(x))
        x = self.prelu5(self.dense5(_flatten_column_major(x)))
        return self.dense6_1(x), self.dense6_2(x)


def _flatten_column_major(x: torch.Tensor) -> torch.Tensor:
    """[N, C, H, W] to [N, W*H*C], the order in which the weights were trained (Caffe on transposed images)."""
    return x.permute(0, 3, 2, 1).flatten(1)


def weights_path(name: str) -> Path:
    """The path of one of facenet-pytorch's weight files; the package itself is never imported.

    Raises:
        EmotionRayError: the package or the file is not there.
    """
    try:
        path = Path(str(distribution("facenet-pytorch").locate_file(f"facenet_pytorch/data/{name}")))
    except PackageNotFoundError:
        path = None
    if path is None or not path.is_file():
        raise EmotionRayError(f"the face detector's weights {name} are missing: pip install facenet-pytorch==2.5.3")
    return path


def with_weights(net: nn.Module) -> nn.Module:
    """The network with its weights, in evaluation mode, channels last.

    Raises:
        EmotionRayError: as `weights_path`.
    """
    path = weights_path(f"{type(net).__name__.lower()}.pt")
    state = torch.load(path, map_location="cpu", weights_only=True)
    own = net.state_dict().keys()
    net.load_state_dict({name: value for name, value in state.items() if name in own})  # O-Net's landmarks are not used
    return net.eval().requires_grad_(False).to(memory_format=torch.channels_last)
