"""facenet-pytorch itself, to compare with: what people use today, at its defaults."""

import torch


def original_mtcnn():
    """facenet-pytorch's `MTCNN()` on the CPU.

    It imports torchvision, whose common wheel registers its operators for CUDA only and then fails beside a
    CPU-only torch. Where that is so, the two operators it asks for are defined here: `nms` for real (greedy,
    by intersection over union, as torchvision documents it), `qnms` by name alone.
    """
    try:
        import torchvision  # noqa: F401
    except (RuntimeError, AttributeError):
        _define_operators()
    from facenet_pytorch import MTCNN

    return MTCNN()


def _define_operators() -> None:
    import sys

    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")
    signature = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    library.define("nms" + signature)
    library.define("qnms" + signature)
    library.impl("nms", _nms, "CPU")
    _define_operators.library = library  # the operators live as long as it does

    import torchvision.extension

    torchvision.extension._has_ops = lambda: True


def _nms(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    order = scores.sort(descending=True, stable=True).indices
    x0, y0, x1, y1 = boxes[order].unbind(1)
    area = (x1 - x0) * (y1 - y0)
    alive = torch.ones(len(order), dtype=torch.bool)
    for i in range(len(order)):
        if alive[i]:
            wide = (torch.minimum(x1[i], x1) - torch.maximum(x0[i], x0)).clamp(min=0)
            high = (torch.minimum(y1[i], y1) - torch.maximum(y0[i], y0)).clamp(min=0)
            shared = wide * high
            over = shared / (area[i] + area - shared) > iou_threshold
            over[: i + 1] = False
            alive &= ~over
    return order[alive]
