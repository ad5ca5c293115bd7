"""What a model costs: parameters by the publications' counting rules, and multiply-adds.

params: every parameter, shared ones once. Insight Any Instance counts so (affine of batch norm and frozen
    stem included), and so do our counts for MAI-SE-Net, whose paper prints none.
trainable_params: those that receive gradients. SEANet, Table 6 (frozen stem and stage 1 left out).
params_frozen_norm_excluded: all but the affine of norms whose statistics are frozen. IEMask R-CNN, Table 8:
    detectron2 keeps the affine of its FrozenBN in buffers.

Buffers are no parameters under any rule. A system built with FrozenBatchNorm2d has its affine there, so its
first and third number are equal; one whose batch norm stays in evaluation mode (mmdetection's way) differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(model: nn.Module) -> dict[str, int]:
    """Numbers of parameters under the three rules above; works on the meta device.

    A norm counts as frozen when it stays in evaluation mode after `model.train()` or its affine has no
    gradient. The modes are put back.
    """
    frozen: dict[int, int] = {}  # by identity: a shared norm is subtracted once
    with _modes_restored(model):
        model.train()
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                for parameter in module.parameters(recurse=False):
                    if not module.training or not parameter.requires_grad:
                        frozen[id(parameter)] = parameter.numel()
    params = sum(parameter.numel() for parameter in model.parameters())
    return {
        "params": params,
        "trainable_params": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "params_frozen_norm_excluded": params - sum(frozen.values()),
    }


def flops(model: nn.Module, height: int, width: int, proposals: int, detections: int) -> int:
    """Multiply-adds (one multiplication and one addition together are 1) of one image at network input size.

    Runs `model.dry_run(height, width, proposals=, detections=)` once, without gradients, in evaluation mode;
    build the model by `on_meta` and nothing is computed. Counted: convolutions, transposed convolutions,
    matrix products, attention. Outside: RoIAlign, NMS, norms, activations, resizing and all else that is
    elementwise, FFT, deformable convolutions. The box head sees `proposals`, the mask head `detections`.

    Raises:
        TypeError: the model has no `dry_run`.
    """
    if not callable(getattr(model, "dry_run", None)):
        raise TypeError(
            f"{type(model).__name__} has no dry_run(height, width, *, proposals, detections); FLOPs need it"
        )
    with _modes_restored(model), torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.eval()
        with sdpa_kernel(SDPBackend.MATH):  # as matrix products: the counter does not know the CPU's fused kernel
            model.dry_run(height, width, proposals=proposals, detections=detections)
    return counter.get_total_flops() // 2


def on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    """Build at any scale in a moment and without memory: parameters have shapes and no values.

    `build` takes nothing and must not load weights: `on_meta(lambda: mask_rcnn.build(num_classes=80, ...))`.
    """
    with torch.device("meta"):
        return build()


@contextmanager
def _modes_restored(model: nn.Module) -> Iterator[None]:
    """Put every module's training flag back; `train(mode)` on the whole would lose those set one by one."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
