"""QueryInst (Fang et al., ICCV 2021): Sparse R-CNN's queries, with masks by dynamic convolutions in every stage."""

from __future__ import annotations

from torch import nn

from reprolib.models.detections import detection_rule
from reprolib.models.one_stage.detector import OneStage, one_stage
from reprolib.models.queries.query_stage import group_norm
from reprolib.models.systems.queryinst.query_inst_head import QueryInstHead
from reprolib.params import Scale, Schedule

NAME = "QueryInst"


def build(
    *,
    num_classes: int,
    backbone: str,
    components: tuple[str, ...] = (),
    scale: Scale,
    schedule: Schedule,
    queries: int = 100,
    mask_norm: str = "",
) -> OneStage:
    """The detector for `num_classes` foreground classes; raises ValueError for any component and unknown switches.

    Not here: the random crops that the publication's longest recipe trains with.

    queries: published 100 or 300; in thin profiles at most as many as proposals at test. mask_norm: of the mask heads,
    `batch`, published, or `group`, the default where `scale.norm` is that.
    """
    if components:
        raise ValueError(f"{NAME} has no components, but {', '.join(components)} is switched on")
    norms = {"batch": nn.BatchNorm2d, "group": group_norm}
    mask_norm = mask_norm or ("group" if scale.norm == "group" else "batch")
    if mask_norm not in norms:
        raise ValueError(f"mask_norm must be one of {', '.join(norms)}, not {mask_norm!r}")
    return one_stage(
        backbone=backbone,
        scale=scale,
        schedule=schedule,
        head=QueryInstHead(
            scale.channels,
            num_classes=num_classes,
            queries=min(queries, scale.rpn_post_nms[1]),
            rule=detection_rule(scale, own_threshold=0.0),
            norm=norms[mask_norm],
            smallest=scale.anchor_sizes[0],
        ),
        sized=True,
    )
