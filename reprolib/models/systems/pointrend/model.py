"""PointRend (Kirillov et al., CVPR 2020) as a mask branch of Mask R-CNN with a feature pyramid."""

from __future__ import annotations

from reprolib.models.input_transform import InputSize
from reprolib.models.systems.pointrend.point_rend_branch import point_rend_branch
from reprolib.models.two_stage.detector import TwoStage, two_stage
from reprolib.models.two_stage.roi_heads import mask_rcnn_heads
from reprolib.params import Scale

NAME = "PointRend"


def build(
    *,
    num_classes: int,
    backbone: str,
    scale: Scale,
    input_size: InputSize,
    dialect: str = "d2",
    mask_on_pred_boxes: bool | None = None,
    stride_in_1x1: bool = False,
) -> TwoStage:
    """The detector for `num_classes` foreground classes.

    mask_on_pred_boxes: masks are trained on the predicted boxes of the positives (detectron2, the default of its
    dialect) instead of the proposals (mmdetection).
    """
    if mask_on_pred_boxes is None:
        mask_on_pred_boxes = dialect == "d2"
    heads = mask_rcnn_heads(
        num_classes=num_classes,
        scale=scale,
        dialect=dialect,
        mask_branch=point_rend_branch(num_classes=num_classes, scale=scale, dialect=dialect),
        mask_on_predicted_boxes=mask_on_pred_boxes,
    )
    return two_stage(
        heads, backbone=backbone, scale=scale, input_size=input_size, dialect=dialect, stride_in_1x1=stride_in_1x1
    )
