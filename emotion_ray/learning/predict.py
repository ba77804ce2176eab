"""A trained model's logits on many clips."""

import numpy as np
import torch
import torch.distributed as dist

from emotion_ray.data.clips import Clips
from emotion_ray.learning.batches import ordered_batches
from emotion_ray.models.architectures import Classifier
from emotion_ray.models.backbone import to_input

BATCH = 8  # at 60 frames of 64x64 the first feature maps of 8 clips take 126 MB


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for bfloat16; others would only take longer with it."""
    in_cpu = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)  # a private name: not in every PyTorch
    return torch.cuda.is_bf16_supported(including_emulation=False) if device.type == "cuda" else in_cpu()


def autocast(device: torch.device, mixed_precision: bool) -> torch.autocast:
    """Within it a model computes in bfloat16 where that is safe, if it is wanted and the device is made for it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=mixed_precision and has_bfloat16(device))


@torch.no_grad()
def predict(
    model: Classifier,
    clips: Clips,
    device: str | torch.device = "cpu",
    mixed_precision: bool = False,
    rank: int = 0,
    world_size: int = 1,
) -> np.ndarray:
    """Logits of clips, dropout left out; the model is left in evaluation mode.

    Args:
        model: on the device already.
        clips: of the model's size; only read.
        device: where the model is.
        mixed_precision: see `autocast`.
        rank, world_size: of several workers each does its part, and each gets the whole result.

    Returns:
        float32 [N, C], in the clips' order.
    """
    model.eval()
    device = torch.device(device)
    dtype = next(model.parameters()).dtype
    logits = torch.zeros(len(clips), model.classes, device=device)
    for places, batch in ordered_batches(clips, BATCH, rank, world_size):
        frames = to_input(batch.frames.to(device), dtype)
        with autocast(device, mixed_precision):
            logits[torch.from_numpy(places).to(device)] = model(frames, batch.num_frames).float()
    if world_size > 1:
        dist.all_reduce(logits)
    return logits.cpu().numpy()
