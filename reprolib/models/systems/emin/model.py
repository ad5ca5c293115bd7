"""EMIN, enhanced mask interaction network (Zhang and Zhang, IGARSS 2022), in the reading that is no other system's."""

from __future__ import annotations

from reprolib.models.dialects import find_dialect
from reprolib.models.input_transform import InputSize
from reprolib.models.systems.cascade_mask_rcnn.cascade import STAGE_IOUS
from reprolib.models.systems.htc.hybrid_task_cascade import htc_heads
from reprolib.models.two_stage.detector import TwoStage, two_stage
from reprolib.models.two_stage.mask_head import MaskHead
from reprolib.models.two_stage.self_attention_flow import self_attention_flow
from reprolib.params import Scale

NAME = "EMIN"


def build(*, num_classes: int, backbone: str, scale: Scale, input_size: InputSize, dialect: str = "mm") -> TwoStage:
    """HTC without semantic branch; between its mask heads global self-attention, concatenation and a 1x1 convolution.

    The publication could not be read. The tables run EMIN as MAI-SE-Net's mask attention interaction (components aspp,
    nlb, csab). This is the other reading: "global feature self-attention" and "adaptive mask feature fusion"
    (specification systems_two_stage.md, section 15).
    """
    outputs = num_classes + find_dialect(dialect).background_channels
    masks = [MaskHead(scale.channels, outputs=outputs) for _ in STAGE_IOUS]
    heads = htc_heads(
        num_classes=num_classes,
        scale=scale,
        dialect=dialect,
        mask_flow=self_attention_flow(masks, scale.channels, fusion="concat"),
    )
    return two_stage(heads, backbone=backbone, scale=scale, input_size=input_size, dialect=dialect)
