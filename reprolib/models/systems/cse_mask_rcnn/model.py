"""C-SE Mask R-CNN, contextual squeeze-and-excitation (Zhang, Zhang, Li and Shi, IEEE RadarConf 2022)."""

from __future__ import annotations

from collections.abc import Sequence

from reprolib.models.systems.fl_cse_roie.context_roi_extractor import CONTEXT_SCALES, RATIO, context_extractor
from reprolib.models.two_stage.detector import TwoStage, two_stage
from reprolib.models.two_stage.mask_branch import plain_mask_branch
from reprolib.models.two_stage.roi_heads import mask_rcnn_heads
from reprolib.params import Scale, Schedule

NAME = "C-SE Mask R-CNN"
PLACES = ("box+mask", "mask")


def build(
    *,
    num_classes: int,
    backbone: str,
    components: tuple[str, ...] = (),
    scale: Scale,
    schedule: Schedule,
    dialect: str = "mm",
    context_scales: Sequence[float] = CONTEXT_SCALES,
    se_ratio: int = RATIO,
    cse_in: str = "box+mask",
) -> TwoStage:
    """Mask R-CNN whose boxes are read with context, each from its own level.

    No more than the title could be read: the design is assumed after FL-CSE-RoIE's abstract (`systems.inferred`).

    context_scales, se_ratio: see `ContextRoIExtractor`. cse_in: `box+mask` or `mask`, the branches that read so.
    Raises ValueError for any component and for other values of the switches.
    """
    if components:
        raise ValueError(f"{NAME} has no components, but {', '.join(components)} is switched on")
    if cse_in not in PLACES:
        raise ValueError(f"cse_in must be one of {', '.join(PLACES)}, not {cse_in!r}")
    how = {"channels": scale.channels, "dialect": dialect, "scales": context_scales, "ratio": se_ratio}
    shared = {"num_classes": num_classes, "scale": scale, "dialect": dialect}
    heads = mask_rcnn_heads(
        box_pooler=context_extractor(7, **how) if "box" in cse_in else None,
        mask_branch=plain_mask_branch(pooler=context_extractor(14, **how), **shared),
        **shared,
    )
    return two_stage(backbone=backbone, scale=scale, schedule=schedule, dialect=dialect, roi_heads=heads)
