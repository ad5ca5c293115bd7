"""Mask Transfiner (Ke et al., CVPR 2022) as a mask branch of Mask R-CNN with a feature pyramid."""

from __future__ import annotations

from collections.abc import Sequence

from reprolib.models.detections import detection_rule
from reprolib.models.input_transform import InputSize
from reprolib.models.systems.mask_transfiner.transfiner_branch import LIMITS, THRESHOLDS, transfiner_branch
from reprolib.models.systems.mask_transfiner.transfiner_heads import TransfinerHeads
from reprolib.models.two_stage.box_stage import plain_box_stage
from reprolib.models.two_stage.detector import TwoStage, two_stage
from reprolib.models.two_stage.roi_pooler import roi_pooler
from reprolib.models.two_stage.samples import RoISampler
from reprolib.params import Scale

NAME = "Mask Transfiner"


def build(
    *,
    num_classes: int,
    backbone: str,
    scale: Scale,
    input_size: InputSize,
    dialect: str = "d2",
    boundary_branch: bool = True,
    refine_limit_train: int | None = LIMITS[0],
    refine_limit_test: int | None = LIMITS[1],
    select_thresholds: Sequence[Sequence[float]] = THRESHOLDS,
    stride_in_1x1: bool = False,
) -> TwoStage:
    """The detector for `num_classes` foreground classes.

    boundary_branch: adds a loss on boundaries, with layers that only training uses.
    refine_limit_train: the largest number of boxes per batch that train the transformer, drawn from the first images.
    refine_limit_test: the largest number of boxes per image whose masks are refined, by score, or in the order of the
    prompts; the other boxes keep their coarse masks. None in either: no limit.
    select_thresholds: in training and in inference, the least incoherence at which a node is refined, at sides of 28,
    56 and 112.
    """
    heads = TransfinerHeads(
        channels=scale.channels,
        sampler=RoISampler(iou=0.5, batch=scale.roi_batch),
        box_pooler=roi_pooler(7, dialect=dialect),
        box_stage=plain_box_stage(num_classes=num_classes, scale=scale, dialect=dialect),
        mask_branch=transfiner_branch(
            num_classes=num_classes,
            scale=scale,
            dialect=dialect,
            boundary=boundary_branch,
            thresholds=select_thresholds,
            limits=(refine_limit_train, refine_limit_test),
        ),
        rule=detection_rule(scale),
    )
    return two_stage(
        heads, backbone=backbone, scale=scale, input_size=input_size, dialect=dialect, stride_in_1x1=stride_in_1x1
    )
