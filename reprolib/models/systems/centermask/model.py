"""CenterMask (Lee, Park, CVPR 2020): FCOS, and a mask head with spatial attention that also scores its masks."""

from __future__ import annotations

from reprolib.models.detections import DetectionRule
from reprolib.models.input_transform import InputSize
from reprolib.models.one_stage.detector import OneStage, one_stage
from reprolib.models.one_stage.fcos_pyramid import FCOSPyramid
from reprolib.models.switch_checks import check_choice
from reprolib.models.systems.centermask.area_ratio_pooler import AreaRatioPooler
from reprolib.models.systems.centermask.attention_mask_head import AttentionMaskHead
from reprolib.models.systems.centermask.centermask_head import CenterMaskHead
from reprolib.models.two_stage.mask_branch import MaskBranch
from reprolib.models.two_stage.mask_iou_head import MaskIoUHead
from reprolib.models.two_stage.mask_scoring_branch import MaskScoringBranch
from reprolib.params import Scale

NAME = "CenterMask"
SCORE_THRESHOLD, NMS_THRESHOLD = 0.03, 0.6
RESOLUTION, SAMPLING = 14, 2  # RoI features: cells per side, samples per cell and axis
LEVELS = ("area_ratio", "fpn224")


def build(
    *,
    num_classes: int,
    backbone: str,
    scale: Scale,
    input_size: InputSize,
    centermask_maskiou: bool = True,
    roi_map: str = "area_ratio",
    roi_aligned: bool = False,
) -> OneStage:
    """The detector for `num_classes` foreground classes; raises ValueError for other values of the switches.

    centermask_maskiou: a head predicts the IoU of each mask, and the score is multiplied with it. roi_map: how the
    pyramid level of a box is chosen, by the box's share of the image (`area_ratio`) or by FPN's rule (`fpn224`).
    roi_aligned: RoIAlign with the half-pixel shift.
    """
    check_choice("roi_map", roi_map, LEVELS)
    channels = scale.channels
    parts = {
        "pooler": AreaRatioPooler(
            resolution=RESOLUTION, sampling=SAMPLING, aligned=roi_aligned, by_area=roi_map == "area_ratio"
        ),
        "head": AttentionMaskHead(channels, outputs=num_classes),
    }
    if centermask_maskiou:
        iou_head = MaskIoUHead(channels, hidden=scale.box_hidden, outputs=num_classes, resolution=RESOLUTION)
        mask_branch = MaskScoringBranch(**parts, iou_head=iou_head)
    else:
        mask_branch = MaskBranch(**parts)
    rule = DetectionRule(
        score_threshold=scale.score_threshold or SCORE_THRESHOLD,
        detections=scale.detections,
        nms_threshold=NMS_THRESHOLD,
    )
    head = CenterMaskHead(
        channels, num_classes=num_classes, per_level=scale.rpn_pre_nms[1], rule=rule, mask_branch=mask_branch
    )
    return one_stage(
        head,
        backbone=backbone,
        scale=scale,
        input_size=input_size,
        neck=lambda widths: FCOSPyramid(widths, channels=channels),
    )
