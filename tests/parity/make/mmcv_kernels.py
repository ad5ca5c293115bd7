"""mmcv without its compiled operators: the package's own Python code runs on torchvision's kernels.

`mmcv-lite` has every Python file of `mmcv`; what it lacks is the module `mmcv._ext`, which this one stands in for.
"""

from __future__ import annotations

import sys
import types

import torch
import torchvision
from torch import Tensor


class Kernels(types.ModuleType):
    """The functions of `mmcv._ext` that the compared systems call; any other one raises when it is called."""

    @staticmethod
    def nms(boxes: Tensor, scores: Tensor, *, iou_threshold: float, offset: int) -> Tensor:
        """Rows of the boxes [N,4] that are kept, best first."""
        if offset:
            raise NotImplementedError("boxes whose far corner is inside of them (offset 1)")
        return torchvision.ops.nms(boxes, scores, iou_threshold)

    @staticmethod
    def roi_align_forward(
        maps: Tensor,
        rois: Tensor,
        output: Tensor,
        argmax_y: Tensor,
        argmax_x: Tensor,
        *,
        aligned_height: int,
        aligned_width: int,
        spatial_scale: float,
        sampling_ratio: int,
        pool_mode: int,
        aligned: bool,
    ) -> None:
        """Fills `output` [R,C,h,w]."""
        if pool_mode != 1:
            raise NotImplementedError("RoIAlign by maximum")
        size = (aligned_height, aligned_width)
        output.copy_(torchvision.ops.roi_align(maps, rois, size, spatial_scale, sampling_ratio, aligned))

    @staticmethod
    def roi_align_backward(
        gradient: Tensor,
        rois: Tensor,
        argmax_y: Tensor,
        argmax_x: Tensor,
        to_maps: Tensor,
        *,
        aligned_height: int,
        aligned_width: int,
        spatial_scale: float,
        sampling_ratio: int,
        pool_mode: int,
        aligned: bool,
    ) -> None:
        """Fills `to_maps` [B,C,H,W], the gradient of the maps."""
        size = (aligned_height, aligned_width)
        to_maps.copy_(
            torch.ops.torchvision._roi_align_backward(
                gradient, rois, spatial_scale, *size, *to_maps.shape, sampling_ratio, aligned
            )
        )

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)

        def missing(*args, **options):
            raise NotImplementedError(f"mmcv's compiled function {name!r}; write it in {__file__}")

        return missing


def install() -> None:
    """Call before anything of mmcv is imported."""
    kernels = Kernels("mmcv._ext")
    sys.modules["mmcv._ext"] = kernels
