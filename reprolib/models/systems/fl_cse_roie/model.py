"""FL-CSE-RoIE, full-level context squeeze-and-excitation RoI extractor (Zhang and Zhang, IEEE GRSL 2022)."""

from __future__ import annotations

from collections.abc import Sequence

from reprolib.models.dialects import find_dialect
from reprolib.models.input_transform import InputSize
from reprolib.models.systems.cascade_mask_rcnn.cascade import STAGE_IOUS
from reprolib.models.systems.fl_cse_roie.carafe_mask_head import CarafeMaskHead
from reprolib.models.systems.htc.hybrid_task_cascade import htc_heads
from reprolib.models.two_stage.context_roi_extractor import CONTEXT_SCALES, RATIO, context_extractor
from reprolib.models.two_stage.detector import TwoStage, two_stage
from reprolib.models.two_stage.self_attention_flow import self_attention_flow
from reprolib.params import Scale

NAME = "FL-CSE-RoIE"


def build(
    *,
    num_classes: int,
    backbone: str,
    scale: Scale,
    input_size: InputSize,
    dialect: str = "mm",
    context_scales: Sequence[float] = CONTEXT_SCALES,
    level_fuse: str = "sum",
    se_ratio: int = RATIO,
) -> TwoStage:
    """HTC without semantic branch whose boxes are read with context from all levels.

    Its mask heads upsample with CARAFE, and each passes its features through self-attention to the next. Only the
    abstract could be read: the design is assumed (`card.toml`).

    context_scales: sizes of the boxes that are pooled together, relative to the box and with its centre. level_fuse:
    `sum`, `concat_1x1` or `own`, see `context_extractor`. se_ratio: reduction of the squeeze-and-excitation vector.
    All stages share an extractor for boxes and another for masks.
    Raises ValueError for other values of the switches.
    """
    context = {"channels": scale.channels, "dialect": dialect, "level_fuse": level_fuse}
    context |= {"scales": context_scales, "ratio": se_ratio}
    outputs = num_classes + find_dialect(dialect).background_channels
    masks = [CarafeMaskHead(scale.channels, outputs=outputs) for _ in STAGE_IOUS]
    heads = htc_heads(
        num_classes=num_classes,
        scale=scale,
        dialect=dialect,
        mask_flow=self_attention_flow(masks, scale.channels, fusion="add"),
    )
    heads.box_pooler, heads.mask_pooler = context_extractor(7, **context), context_extractor(14, **context)
    return two_stage(heads, backbone=backbone, scale=scale, input_size=input_size, dialect=dialect)
