"""SOTR (Guo et al., ICCV 2021): SOLOv2 with a transformer along columns and rows in the place of its branches."""

from __future__ import annotations

from reprolib.models.detections import detection_rule
from reprolib.models.input_transform import InputSize
from reprolib.models.one_stage.detector import OneStage, one_stage
from reprolib.models.systems.solov2.solov2_head import kernel_length
from reprolib.models.systems.solov2.solov2_levels import find_form, levels_of
from reprolib.models.systems.solov2.solov2_targets import find_collision
from reprolib.models.systems.solov2.unified_mask_feature import UnifiedMaskFeature
from reprolib.models.systems.sotr.sotr_head import SOTRHead, TransformerBranches
from reprolib.models.systems.sotr.twin_transformer import TwinTransformer
from reprolib.params import Scale

NAME = "SOTR"
FORM = "full"


def build(
    *,
    num_classes: int,
    backbone: str,
    scale: Scale,
    input_size: InputSize,
    sotr_pos_embed: bool = False,
    sotr_double_width: bool = False,
    collision: str = "both_masks",
) -> OneStage:
    """The detector for `num_classes` foreground classes.

    sotr_pos_embed: the transformer gets a sine positional encoding, as in the publication's text; its code has none.
    sotr_double_width: the transformer gets every map twice, side by side, as in the published code. That doubles its
    cost and changes results only where the two copies meet. collision: see SOLOv2.
    """
    channels, kernel = scale.channels, kernel_length(FORM, scale=scale)
    transformer = TwinTransformer(channels, positions=sotr_pos_embed, double_width=sotr_double_width)
    head = SOTRHead(
        levels=levels_of(find_form(FORM), scale=scale, short_side=input_size.test_size),
        branches=TransformerBranches(transformer, channels, num_classes=num_classes, kernel=kernel),
        mask_feature=UnifiedMaskFeature(channels, width=channels // 2, out_channels=kernel, coordinates=False),
        rule=detection_rule(scale, own_threshold=0.1),
        assign=find_collision(collision),
    )
    return one_stage(head, backbone=backbone, scale=scale, input_size=input_size)
