"""C-SE Mask R-CNN, contextual squeeze-and-excitation (Zhang, Zhang, Li and Shi, IEEE RadarConf 2022)."""

from __future__ import annotations

from collections.abc import Sequence

from reprolib.models.input_transform import InputSize
from reprolib.models.switch_checks import check_choice
from reprolib.models.two_stage.context_roi_extractor import CONTEXT_SCALES, RATIO, context_extractor
from reprolib.models.two_stage.detector import TwoStage, two_stage
from reprolib.models.two_stage.mask_branch import plain_mask_branch
from reprolib.models.two_stage.roi_heads import mask_rcnn_heads
from reprolib.params import Scale

NAME = "C-SE Mask R-CNN"
PLACES = ("box+mask", "mask")


def build(
    *,
    num_classes: int,
    backbone: str,
    scale: Scale,
    input_size: InputSize,
    dialect: str = "mm",
    context_scales: Sequence[float] = CONTEXT_SCALES,
    se_ratio: int = RATIO,
    cse_in: str = "box+mask",
) -> TwoStage:
    """Mask R-CNN whose boxes are read with context, each from its own level.

    Only the title could be read: the design is assumed after FL-CSE-RoIE's abstract (`card.toml`).

    context_scales, se_ratio: see `ContextRoIExtractor`. cse_in: the branches that read
    context, `box+mask` or `mask`.
    Raises ValueError for other values of the switches.
    """
    check_choice("cse_in", cse_in, PLACES)
    context = {"channels": scale.channels, "dialect": dialect, "scales": context_scales, "ratio": se_ratio}
    shared = {"num_classes": num_classes, "scale": scale, "dialect": dialect}
    heads = mask_rcnn_heads(
        box_pooler=context_extractor(7, **context) if "box" in cse_in else None,
        mask_branch=plain_mask_branch(pooler=context_extractor(14, **context), **shared),
        **shared,
    )
    return two_stage(heads, backbone=backbone, scale=scale, input_size=input_size, dialect=dialect)
