"""FCIS, fully convolutional instance-aware segmentation (Li et al., CVPR 2017), on C5 with dilation."""

from __future__ import annotations

import dataclasses

from reprolib.models.backbones import build_backbone, fix_norms
from reprolib.models.detections import detection_rule
from reprolib.models.dialects import MM
from reprolib.models.input_transform import InputSize
from reprolib.models.one_stage.detector import OneStage, one_stage
from reprolib.models.systems.fcis.fcis_head import KEPT, FCISHead, FCISNeck
from reprolib.models.systems.fcis.fcis_proposals import single_map_proposals
from reprolib.params import Scale

NAME = "FCIS"
SCORE_THRESHOLD, NMS_THRESHOLD = 0.001, 0.3


def build(*, num_classes: int, backbone: str, scale: Scale, input_size: InputSize) -> OneStage:
    """The detector for `num_classes` foreground classes.

    The mask of a detection is a vote of all overlapping boxes, so a box that a user draws cannot be segmented. Batch
    norms of the backbone are frozen, as published.
    """
    body = build_backbone(backbone, scale=scale, dialect=MM.name, dilated_c5=True)
    fix_norms(body)
    head = FCISHead(
        4 * scale.channels,
        num_classes=num_classes,
        rpn=single_map_proposals(body.channels[2], hidden=2 * scale.channels, scale=scale, beta=MM.rpn_beta),
        rule=dataclasses.replace(detection_rule(scale, own_threshold=SCORE_THRESHOLD), nms_threshold=NMS_THRESHOLD),
        sampled=min(KEPT, scale.roi_batch),
    )
    return one_stage(
        head,
        backbone=body,
        scale=scale,
        input_size=input_size,
        neck=FCISNeck(body.channels, channels=4 * scale.channels),
    )
