"""MaskFormer (Cheng et al., NeurIPS 2021) for instances: DETR's queries, each with a class and a whole mask."""

from __future__ import annotations

from reprolib.models.backbones import fixed_norm_backbone
from reprolib.models.detections import detection_rule
from reprolib.models.input_transform import InputSize
from reprolib.models.one_stage.detector import OneStage, one_stage
from reprolib.models.queries.mask_classification import MaskClassification
from reprolib.models.systems.maskformer.maskformer_decoder import QueryDecoder
from reprolib.models.systems.maskformer.maskformer_pixel_decoder import EncodedPyramid
from reprolib.models.systems.maskformer.pixel_criterion import PixelCriterion
from reprolib.params import Scale

NAME = "MaskFormer"


def build(*, num_classes: int, backbone: str, scale: Scale, input_size: InputSize, dropout: float = 0.1) -> OneStage:
    """The detector for `num_classes` foreground classes.

    This is the published model for panoptic segmentation with thing classes only, since no instance setting is
    published; inference is Mask2Former's. There are as many queries as `scale.detections`, published 100. Only the
    norms of the backbone are frozen, and only where `scale.norm` is `published`. Not implemented: the random crops of
    the publication.

    dropout: of the transformer's layers.
    """
    channels, queries = scale.channels, scale.detections
    body = fixed_norm_backbone(backbone, scale=scale)
    head = MaskClassification(
        decoder=QueryDecoder(channels, num_classes=num_classes, queries=queries, dropout=dropout),
        criterion=PixelCriterion(),
        rule=detection_rule(scale, own_threshold=0.0),
    )
    return one_stage(
        head,
        backbone=body,
        scale=scale,
        input_size=input_size,
        neck=lambda widths: EncodedPyramid(widths, channels=channels, dropout=dropout),
    )
