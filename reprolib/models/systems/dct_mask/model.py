"""DCT-Mask (Shen et al., CVPR 2021) as a mask branch of Mask R-CNN."""

from __future__ import annotations

from reprolib.models.input_transform import InputSize
from reprolib.models.systems.dct_mask.dct_mask_branch import dct_mask_branch
from reprolib.models.two_stage.detector import TwoStage, two_stage
from reprolib.models.two_stage.roi_heads import mask_rcnn_heads
from reprolib.params import Scale

NAME = "DCT-Mask"


def build(
    *,
    num_classes: int,
    backbone: str,
    scale: Scale,
    input_size: InputSize,
    dialect: str = "d2",
    dct_dim: int = 300,
    dct_size: int = 128,
    dct_loss: str = "l1",
    dct_weight: float = 0.007,
    stride_in_1x1: bool = False,
) -> TwoStage:
    """Mask R-CNN whose masks are predicted as coefficients of their cosine transform, one mask for all classes.

    dct_dim: coefficients of a mask; dct_size: pixels of its sides. dct_loss: l1, smooth_l1 or l2, times dct_weight.
    Raises ValueError for other values of the switches.
    """
    branch = dct_mask_branch(
        scale=scale, dialect=dialect, dim=dct_dim, size=dct_size, distance=dct_loss, weight=dct_weight
    )
    return two_stage(
        mask_rcnn_heads(num_classes=num_classes, scale=scale, dialect=dialect, mask_branch=branch),
        backbone=backbone,
        scale=scale,
        input_size=input_size,
        dialect=dialect,
        stride_in_1x1=stride_in_1x1,
    )
