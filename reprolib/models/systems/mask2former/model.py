"""Mask2Former (Cheng et al., CVPR 2022) for instances: queries that attend inside the masks they predict."""

from __future__ import annotations

from reprolib.models.backbones import fixed_norm_backbone
from reprolib.models.detections import detection_rule
from reprolib.models.one_stage.detector import OneStage, one_stage
from reprolib.models.queries.mask_classification import MaskClassification
from reprolib.models.queries.point_criterion import PointCriterion, points_of
from reprolib.models.systems.mask2former.mask2former_decoder import MaskedDecoder
from reprolib.models.systems.mask2former.mask2former_pixel_decoder import DeformablePixelDecoder
from reprolib.params import Scale, Schedule

NAME = "Mask2Former"


def build(
    *, num_classes: int, backbone: str, components: tuple[str, ...] = (), scale: Scale, schedule: Schedule
) -> OneStage:
    """The detector for `num_classes` foreground classes; raises ValueError for any component.

    There are as many queries as `scale.detections`, published 100. Nothing of the backbone is frozen but, where
    `scale.norm` is `published`, its norms. Not here: the large-scale jitter that the publication trains with.
    """
    if components:
        raise ValueError(f"{NAME} has no components, but {', '.join(components)} is switched on")
    channels, queries = scale.channels, scale.detections
    return one_stage(
        backbone=fixed_norm_backbone(backbone, scale=scale),
        scale=scale,
        schedule=schedule,
        neck=lambda widths: DeformablePixelDecoder(widths, channels=channels),
        head=MaskClassification(
            decoder=MaskedDecoder(channels, num_classes=num_classes, queries=queries),
            criterion=PointCriterion(points=points_of(scale)),
            rule=detection_rule(scale, own_threshold=0.0),
        ),
    )
