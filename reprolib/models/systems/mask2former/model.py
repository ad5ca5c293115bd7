"""Mask2Former (Cheng et al., CVPR 2022) for instances: queries that attend inside the masks they predict."""

from __future__ import annotations

from reprolib.models.backbones import fixed_norm_backbone
from reprolib.models.detections import detection_rule
from reprolib.models.input_transform import InputSize
from reprolib.models.one_stage.detector import OneStage, one_stage
from reprolib.models.queries.mask_classification import MaskClassification
from reprolib.models.systems.mask2former.mask2former_decoder import MaskedDecoder
from reprolib.models.systems.mask2former.mask2former_pixel_decoder import DeformablePixelDecoder
from reprolib.models.systems.mask2former.point_criterion import PointCriterion, points_of
from reprolib.params import Scale

NAME = "Mask2Former"


def build(*, num_classes: int, backbone: str, scale: Scale, input_size: InputSize) -> OneStage:
    """The detector for `num_classes` foreground classes.

    There are as many queries as `scale.detections`, published 100. Only the norms of the backbone are frozen, and only
    where `scale.norm` is `published`. Not implemented: the large-scale jitter of the publication.
    """
    channels, queries = scale.channels, scale.detections
    body = fixed_norm_backbone(backbone, scale=scale)
    head = MaskClassification(
        decoder=MaskedDecoder(channels, num_classes=num_classes, queries=queries),
        criterion=PointCriterion(points=points_of(scale)),
        rule=detection_rule(scale, own_threshold=0.0),
    )
    return one_stage(
        head,
        backbone=body,
        scale=scale,
        input_size=input_size,
        neck=lambda widths: DeformablePixelDecoder(widths, channels=channels),
    )
