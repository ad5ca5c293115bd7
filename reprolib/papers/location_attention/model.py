"""SOLOv2 with location attention: a cross-stage backbone, a two-way pyramid, a fused mask feature, a matching."""

from __future__ import annotations

from functools import partial

from reprolib.models.backbones import Backbone
from reprolib.models.input_transform import InputSize
from reprolib.models.one_stage.detector import OneStage, one_stage
from reprolib.models.systems.solov2.solov2_head import kernel_length, solov2_head
from reprolib.models.systems.solov2.solov2_losses import solov2_losses
from reprolib.models.systems.solov2.solov2_targets import find_collision
from reprolib.papers.location_attention.cross_stage_backbone import cross_stage_backbone
from reprolib.papers.location_attention.mask_feature_fusion import CrossStageMaskFeature
from reprolib.papers.location_attention.minimum_loss import assignment, criterion
from reprolib.papers.location_attention.switches import resolve_switches
from reprolib.papers.location_attention.two_way_pyramid import TwoWayPyramid
from reprolib.params import Scale

NAME = "SOLOv2-LocationAttention"
FORM = "full"


def build(
    *,
    num_classes: int,
    backbone: str,
    components: tuple[str, ...] = (),
    scale: Scale,
    input_size: InputSize,
    **switches: object,
) -> OneStage:
    """SOLOv2 with these components (paper, figure 1); without any it is SOLOv2.

    components: of `cspam` (the backbone), `twfpn+csmf` (pyramid and mask feature), `aml` (matching and mask loss).
    switches: see `switches.Switches`. Raises ValueError for unknown components or switches.
    """
    chosen = resolve_switches(components, **switches)
    body: str | Backbone = backbone
    if "cspam" in components:
        body = cross_stage_backbone(backbone, scale=scale, switches=chosen)
    neck = mask_feature = None
    if "twfpn+csmf" in components:
        neck = partial(TwoWayPyramid, channels=scale.channels, switches=chosen)
        mask_feature = CrossStageMaskFeature(
            scale.channels,
            width=scale.channels // 2,
            out_channels=kernel_length(FORM, scale=scale),
            switches=chosen,
        )
    aml = "aml" in components
    head = solov2_head(
        num_classes=num_classes,
        scale=scale,
        test_size=input_size.test_size,
        form=FORM,
        mask_feature=mask_feature,
        assign=assignment(chosen) if aml else find_collision(chosen.collision),
        criterion=criterion(chosen) if aml else solov2_losses,
    )
    return one_stage(head, backbone=body, scale=scale, input_size=input_size, neck=neck)
