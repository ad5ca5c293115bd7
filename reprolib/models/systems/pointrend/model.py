"""PointRend (Kirillov et al., CVPR 2020) as a mask branch of Mask R-CNN with a feature pyramid."""

from __future__ import annotations

from reprolib.models.systems.pointrend.point_rend_branch import point_rend_branch
from reprolib.models.two_stage.detector import TwoStage, two_stage
from reprolib.models.two_stage.roi_heads import mask_rcnn_heads
from reprolib.params import Scale, Schedule

NAME = "PointRend"


def build(
    *,
    num_classes: int,
    backbone: str,
    components: tuple[str, ...] = (),
    scale: Scale,
    schedule: Schedule,
    dialect: str = "d2",
    mask_on_pred_boxes: bool | None = None,
    stride_in_1x1: bool = False,
) -> TwoStage:
    """The detector for `num_classes` foreground classes; raises ValueError for any component.

    mask_on_pred_boxes: masks train on the predicted boxes of the positives (detectron2, so by default in d2), not on
    the proposals (mmdetection).
    """
    if components:
        raise ValueError(f"{NAME} has no components, but {', '.join(components)} is switched on")
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
        backbone=backbone,
        scale=scale,
        schedule=schedule,
        dialect=dialect,
        roi_heads=heads,
        stride_in_1x1=stride_in_1x1,
    )
