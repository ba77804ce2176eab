"""The small convolutional network that both classifiers put each frame through."""

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, relu

CHANNELS = (16, 32)
SHRINK = 4  # two max-pools of 2
CPU_FRAMES = 32  # frames at a time, whose largest feature map, 8 MB at 64x64 px, stays in a CPU's cache


class Backbone(nn.Sequential):
    """Two rounds of 3x3 convolution, ReLU and 2x2 max-pool, each frame for itself.

    The parts stand in the order in which the baseline numbered them, so that `cnn.0` and `cnn.3` of its state
    dicts are the convolutions here. `forward` computes the same function in another order: pooling first
    leaves ReLU a quarter of the work. With channels last in memory, and few frames at a time, a CPU is fastest
    and needs less memory.
    """

    def __init__(self):
        first, second = CHANNELS
        super().__init__(
            nn.Conv2d(3, first, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(first, second, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )

    def forward(self, frames_NCHW: Tensor) -> Tensor:
        """Features of frames.

        Args:
            frames_NCHW: float [N, 3, S, S] in 0..1, RGB.

        Returns:
            float [N, 32 * (S // 4) ** 2], flattened in the order channel, row, column.
        """
        if frames_NCHW.device.type != "cpu" or len(frames_NCHW) <= CPU_FRAMES:
            return self._features(frames_NCHW)
        return torch.cat([self._features(part) for part in frames_NCHW.split(CPU_FRAMES)])

    def _features(self, frames_NCHW: Tensor) -> Tensor:
        x = frames_NCHW.contiguous(memory_format=torch.channels_last)
        x = relu(max_pool2d(self[0](x), 2))
        x = relu(max_pool2d(self[3](x), 2))
        return x.flatten(1)


def feature_count(size: int) -> int:
    """Features a frame of `size` x `size` px gives."""
    return CHANNELS[-1] * (size // SHRINK) ** 2


def to_input(frames: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Crops as the models take them; the one way from pixels to model input, in training and in use.

    Args:
        frames: uint8 [..., S, S, 3] RGB; not changed.
        dtype: of the result.

    Returns:
        [..., 3, S, S] in 0..1, on the same device, with the channels still last in memory.
    """
    return frames.movedim(-1, -3).to(dtype, copy=True).div_(255)
