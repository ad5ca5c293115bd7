"""YOLACT-550 (Bolya et al., ICCV 2019): masks as sums of prototypes, as published or as MMDetection builds it."""

from __future__ import annotations

import dataclasses

from reprolib.models.detections import detection_rule
from reprolib.models.input_transform import InputSize, InputTransform
from reprolib.models.one_stage.detector import OneStage, one_stage
from reprolib.models.switch_checks import check_choice
from reprolib.models.systems.yolact.yolact_head import YOLACTHead
from reprolib.models.systems.yolact.yolact_pyramid import YOLACTPyramid
from reprolib.params import Scale

NAME = "YOLACT"
FORMS = ("mmdetection", "paper")
SIDE = 550  # px
MEAN, STD = (123.68, 116.78, 103.94), (58.40, 57.12, 57.38)
ANCHORS = 0.75  # of the suite's anchor sizes: 24 px where those start at 32
BATCH, ENOUGH = 8, 6  # images: a published batch, and the fewest with which the published code trains batch norm


def build(
    *,
    num_classes: int,
    backbone: str,
    scale: Scale,
    input_size: InputSize,
    images_per_batch: int = BATCH,
    yolact_form: str = "mmdetection",
    nms: str = "fast",
) -> OneStage:
    """The detector for `num_classes` foreground classes; raises ValueError for unknown values of its switches.

    Images are resized to squares of 550 px, or of the short side where that is less. Nothing of the backbone
    is frozen; where `scale.norm` is `published`, its batch norm trains, in the published form from 6 images a batch.
    Not here: the photometric distortion, expansion and random crops that the publication trains with.

    yolact_form: `paper` or `mmdetection`: where P6 comes from, ReLU in the pyramid, shapes of anchors, images without
    positives, masks beyond 100, a second score threshold (see `YOLACTPyramid` and `YOLACTHead`).
    nms: `fast` or `standard`.
    """
    check_choice("yolact_form", yolact_form, FORMS)
    as_published = yolact_form == "paper"
    input_size = input_size.at_most(short_side=SIDE)
    scale = dataclasses.replace(scale, frozen_stages=0)
    if scale.norm == "published" and not (as_published and images_per_batch < ENOUGH):
        scale = dataclasses.replace(scale, norm="batch")
    head = YOLACTHead(
        scale.channels,
        num_classes=num_classes,
        scales=[ANCHORS * size for size in scale.anchor_sizes],
        rule=detection_rule(scale),
        as_published=as_published,
        nms=nms,
    )
    return one_stage(
        head,
        backbone=backbone,
        scale=scale,
        input_size=input_size,
        neck=lambda widths: YOLACTPyramid(widths, channels=scale.channels, as_published=as_published),
        transform=InputTransform(
            input_size,
            mean=[value / 255 for value in MEAN],
            std=[value / 255 for value in STD],
            bgr=False,
            divisor=1,
            keep_ratio=False,
        ),
    )
