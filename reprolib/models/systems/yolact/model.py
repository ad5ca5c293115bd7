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
ANCHORS = 0.75  # anchor sizes, relative to `scale.anchor_sizes`: 24 px where those start at 32
BATCH = 8  # images, as published
MIN_NORM_BATCH = 6  # images: the published code trains batch norm from this batch size


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
    """The detector for `num_classes` foreground classes; raises ValueError for other values of the switches.

    Images are resized to squares of 550 px, or of the input's short side where that is smaller. No stage of the
    backbone is frozen. Where `scale.norm` is `published`, its batch norm is trained; in the form `paper` only if there
    are at least 6 images per batch. Not implemented: the photometric distortion, expansion and random crops of the
    published training.

    yolact_form: `paper` or `mmdetection`. They differ in P6, ReLU in the pyramid, shapes of anchors, images without
    positives, masks beyond 100 and a second score threshold (see `YOLACTPyramid` and `YOLACTHead`).
    nms: `fast` or `standard`.
    """
    check_choice("yolact_form", yolact_form, FORMS)
    as_published = yolact_form == "paper"
    input_size = input_size.at_most(short_side=SIDE)
    scale = dataclasses.replace(scale, frozen_stages=0)
    if scale.norm == "published" and not (as_published and images_per_batch < MIN_NORM_BATCH):
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
