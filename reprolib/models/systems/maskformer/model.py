"""MaskFormer (Cheng et al., NeurIPS 2021) for instances: DETR's queries, each with a class and a whole mask."""

from __future__ import annotations

from reprolib.models.backbones import fixed_norm_backbone
from reprolib.models.detections import detection_rule
from reprolib.models.one_stage.detector import OneStage, one_stage
from reprolib.models.queries.mask_classification import MaskClassification
from reprolib.models.systems.maskformer.maskformer_decoder import QueryDecoder
from reprolib.models.systems.maskformer.maskformer_pixel_decoder import EncodedPyramid
from reprolib.models.systems.maskformer.pixel_criterion import PixelCriterion
from reprolib.params import Scale, Schedule

NAME = "MaskFormer"


def build(
    *,
    num_classes: int,
    backbone: str,
    components: tuple[str, ...] = (),
    scale: Scale,
    schedule: Schedule,
    dropout: float = 0.1,
) -> OneStage:
    """The detector for `num_classes` foreground classes; raises ValueError for any component.

    The published model for panoptic segmentation with classes of things only: no instance setting is published, and
    inference is Mask2Former's. There are as many queries as `scale.detections`, published 100. Nothing of the backbone
    is frozen but, where `scale.norm` is `published`, its norms. Not here: the random crops of the publication.

    dropout: of the transformer's layers.
    """
    if components:
        raise ValueError(f"{NAME} has no components, but {', '.join(components)} is switched on")
    channels, queries = scale.channels, scale.detections
    return one_stage(
        backbone=fixed_norm_backbone(backbone, scale=scale),
        scale=scale,
        schedule=schedule,
        neck=lambda widths: EncodedPyramid(widths, channels=channels, dropout=dropout),
        head=MaskClassification(
            decoder=QueryDecoder(channels, num_classes=num_classes, queries=queries, dropout=dropout),
            criterion=PixelCriterion(),
            rule=detection_rule(scale, own_threshold=0.0),
        ),
    )
