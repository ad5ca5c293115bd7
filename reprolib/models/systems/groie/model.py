"""GRoIE (Rossi et al., ICPR 2020): Mask R-CNN whose boxes and masks read all levels of the pyramid."""

from __future__ import annotations

from reprolib.models.input_transform import InputSize
from reprolib.models.systems.groie.generic_roi_extractor import GenericRoIExtractor
from reprolib.models.two_stage.detector import TwoStage, two_stage
from reprolib.models.two_stage.mask_branch import plain_mask_branch
from reprolib.models.two_stage.roi_heads import mask_rcnn_heads
from reprolib.models.two_stage.roi_pooler import all_level_pooler
from reprolib.params import Scale

NAME = "GRoIE"


def build(
    *,
    num_classes: int,
    backbone: str,
    scale: Scale,
    input_size: InputSize,
    dialect: str = "mm",
    stride_in_1x1: bool = False,
) -> TwoStage:
    """Mask R-CNN with a generic RoI extractor each for boxes (7x7) and masks (14x14).

    Plain, as MAI-SE-Net's row is read: the published variant with global context blocks in the backbone is not built.
    """

    def extractor(resolution: int) -> GenericRoIExtractor:
        pooler = all_level_pooler(resolution, dialect=dialect)
        return GenericRoIExtractor(pooler=pooler, channels=scale.channels)

    shared = {"num_classes": num_classes, "scale": scale, "dialect": dialect}
    heads = mask_rcnn_heads(
        box_pooler=extractor(7), mask_branch=plain_mask_branch(pooler=extractor(14), **shared), **shared
    )
    return two_stage(
        heads, backbone=backbone, scale=scale, input_size=input_size, dialect=dialect, stride_in_1x1=stride_in_1x1
    )
