"""Reading tensors from a file that someone else may have made."""

import pickle
import zipfile
from typing import Any

import torch
from torch import Tensor

from emotion_ray.data.storage import Folder
from emotion_ray.errors import EmotionRayError

LARGEST_FILE = 4 * 2**30  # bytes, unpacked


def read_tensors(folder: Folder, name: str, largest: int | None = None) -> Any:
    """What `torch.save` wrote, if that is nothing but tensors and plain values, on the CPU.

    A `.pth` file is a zip archive with a pickle in it, and a pickle may ask for any function to be called.
    PyTorch's `weights_only` reader refuses all but what tensors are made with.

    Args:
        folder, name: where it is.
        largest: bytes that it may unpack to; by default 4 GiB.

    Raises:
        EmotionRayError: no such file, too large, cut off, of another kind, or holding anything else than
            tensors and plain values.
    """
    path = f"{folder.uri}/{name}"
    largest = largest or LARGEST_FILE
    try:
        with folder.filesystem.open_input_file(folder.file(name)) as stream:
            unpacked = sum(member.file_size for member in zipfile.ZipFile(stream).infolist())
            if unpacked > largest:
                raise EmotionRayError(f"{path} unpacks to {unpacked:,} bytes, over {largest:,}: not loaded")
            stream.seek(0)
            return torch.load(stream, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise EmotionRayError(
            f"{path} holds more than tensors and could run code: refused; save the model's state_dict() alone"
        ) from None
    except FileNotFoundError:
        raise EmotionRayError(f"there is no file {path}: check the path") from None
    except (
        zipfile.BadZipFile,
        RuntimeError,
        ValueError,
        EOFError,
        LookupError,
        TypeError,
        AttributeError,
        OSError,
    ):
        raise EmotionRayError(
            f"{path} is no PyTorch file or is damaged: copy it again, or save it with PyTorch 1.6 or newer"
        ) from None


def read_state_dict(folder: Folder, name: str) -> dict[str, Tensor]:
    """A model's weights, float32.

    Raises:
        EmotionRayError: as `read_tensors`; or it is no dict of finite floating-point tensors.
    """
    weights = read_tensors(folder, name)
    path = f"{folder.uri}/{name}"
    if not isinstance(weights, dict) or not weights:
        raise EmotionRayError(f"{path} holds no state dict: save the model's state_dict()")
    left = LARGEST_FILE
    for key, tensor in weights.items():
        plain = isinstance(tensor, Tensor) and tensor.device.type == "cpu" and tensor.layout == torch.strided
        if not (isinstance(key, str) and plain and tensor.is_floating_point()):
            raise EmotionRayError(f"{path}: {key!r:.80} is no tensor of weights: save the state_dict() alone")
        held = tensor.numel() * tensor.element_size()  # a few bytes may claim to be many, or be told of many times
        left -= held
        if left < 0 or held > tensor.untyped_storage().nbytes() or not tensor.isfinite().all():
            raise EmotionRayError(f"{path}: {key!r:.80} is too large or not finite: train the model again")
    return {key: tensor.detach().float().contiguous() for key, tensor in weights.items()}
