"""YOLACT-550 (Bolya et al., ICCV 2019): masks as sums of prototypes, as published or as MMDetection builds it."""

from __future__ import annotations

import dataclasses

from reprolib.models.detections import detection_rule
from reprolib.models.input_transform import InputTransform
from reprolib.models.one_stage.detector import OneStage, at_most, one_stage
from reprolib.models.systems.yolact.yolact_head import YOLACTHead
from reprolib.models.systems.yolact.yolact_pyramid import YOLACTPyramid
from reprolib.params import Scale, Schedule

NAME = "YOLACT"
FORMS = ("mmdetection", "paper")
SIDE = 550  # px
MEAN, STD = (123.68, 116.78, 103.94), (58.40, 57.12, 57.38)
ANCHORS = 0.75  # of the suite's anchor sizes: 24 px where those start at 32
ENOUGH = 6  # images in a batch for batch norm, by the published code


def build(
    *,
    num_classes: int,
    backbone: str,
    components: tuple[str, ...] = (),
    scale: Scale,
    schedule: Schedule,
    yolact_form: str = "mmdetection",
    nms: str = "fast",
) -> OneStage:
    """The detector for `num_classes` foreground classes; raises ValueError for any component and unknown switches.

    Images are resized to squares of 550 px, or of the schedule's short side where that is less. Nothing of the backbone
    is frozen; where `scale.norm` is `published`, its batch norm trains, in the published form from 6 images a batch.
    Not here: the photometric distortion, expansion and random crops that the publication trains with.

    yolact_form: `paper` or `mmdetection`: where P6 comes from, ReLU in the pyramid, shapes of anchors, images without
    positives, masks beyond 100, a second score threshold (see `YOLACTPyramid` and `YOLACTHead`).
    nms: `fast` or `standard`.
    """
    if components:
        raise ValueError(f"{NAME} has no components, but {', '.join(components)} is switched on")
    if yolact_form not in FORMS:
        raise ValueError(f"yolact_form must be one of {', '.join(FORMS)}, not {yolact_form!r}")
    as_published = yolact_form == "paper"
    schedule = at_most(schedule, short_side=SIDE, long_side=schedule.max_size)
    scale = dataclasses.replace(scale, frozen_stages=0)
    if scale.norm == "published" and not (as_published and schedule.batch_size // schedule.accumulate < ENOUGH):
        scale = dataclasses.replace(scale, norm="batch")
    return one_stage(
        backbone=backbone,
        scale=scale,
        schedule=schedule,
        neck=lambda widths: YOLACTPyramid(widths, channels=scale.channels, as_published=as_published),
        head=YOLACTHead(
            scale.channels,
            num_classes=num_classes,
            scales=[ANCHORS * size for size in scale.anchor_sizes],
            rule=detection_rule(scale),
            as_published=as_published,
            nms=nms,
        ),
        transform=InputTransform(
            min_sizes=schedule.min_sizes,
            test_size=schedule.test_size,
            max_size=schedule.max_size,
            mean=[value / 255 for value in MEAN],
            std=[value / 255 for value in STD],
            bgr=False,
            divisor=1,
            keep_ratio=False,
        ),
    )
