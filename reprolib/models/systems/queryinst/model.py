"""QueryInst (Fang et al., ICCV 2021): Sparse R-CNN's queries, with masks by dynamic convolutions in every stage."""

from __future__ import annotations

from torch import nn

from reprolib.models.detections import detection_rule
from reprolib.models.input_transform import InputSize
from reprolib.models.one_stage.detector import OneStage, one_stage
from reprolib.models.queries.query_stage import group_norm
from reprolib.models.switch_checks import check_choice
from reprolib.models.systems.queryinst.query_inst_head import QueryInstHead
from reprolib.params import Scale

NAME = "QueryInst"


def build(
    *, num_classes: int, backbone: str, scale: Scale, input_size: InputSize, queries: int = 100, mask_norm: str = ""
) -> OneStage:
    """The detector for `num_classes` foreground classes; raises ValueError for other values of the switches.

    Not implemented: the random crops of the publication's longest training.

    queries: published 100 or 300; at most as many as the scale's proposals in inference. mask_norm: norm of the mask
    heads, `batch` (published) or `group`; by default `group` where `scale.norm` is `group`.
    """
    norms = {"batch": nn.BatchNorm2d, "group": group_norm}
    mask_norm = mask_norm or ("group" if scale.norm == "group" else "batch")
    check_choice("mask_norm", mask_norm, norms)
    head = QueryInstHead(
        scale.channels,
        num_classes=num_classes,
        queries=min(queries, scale.rpn_post_nms[1]),
        rule=detection_rule(scale, own_threshold=0.0),
        norm=norms[mask_norm],
        smallest=scale.anchor_sizes[0],
    )
    return one_stage(head, backbone=backbone, scale=scale, input_size=input_size, sized=True)
