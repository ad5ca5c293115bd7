"""SA R-CNN, synergistic attention for SAR ships (Zhao et al., Remote Sensing 2021, 13, 4384; spec section 8)."""

from __future__ import annotations

from torch import nn

from reprolib.models.backbones import Backbone, build_backbone
from reprolib.models.feature_pyramid import FeaturePyramid
from reprolib.models.input_transform import InputSize
from reprolib.models.layers.global_context import global_context
from reprolib.models.switch_checks import check_choice
from reprolib.models.systems.sa_rcnn.anchor_attention import attentive_region_proposals
from reprolib.models.systems.sa_rcnn.balanced_pyramid import BalancedPyramid
from reprolib.models.two_stage.detector import TwoStage, two_stage
from reprolib.models.two_stage.roi_heads import mask_rcnn_heads
from reprolib.params import Scale

NAME = "SA R-CNN"
PARTS = ("gam", "gam+sam", "gam+sam+aam")


def build(
    *,
    num_classes: int,
    backbone: str,
    scale: Scale,
    input_size: InputSize,
    dialect: str = "mm",
    sa_parts: str = "gam+sam+aam",
    gcb_ratio: float = 1 / 16,
    aam_gate: str = "multiply",
) -> TwoStage:
    """The detector for `num_classes` foreground classes: Mask R-CNN with attention at three places.

    Most of its design is assumed (`card.toml`).

    sa_parts: `gam` (global context blocks in the backbone, literally ResNet-50-GCB-FPN), `gam+sam` (with the balanced
    pyramid too), `gam+sam+aam` (with location attention in the RPN too, the default).
    gcb_ratio: width of a global context block's bottleneck relative to its input; 1/16 or 1/4 in the public code.
    aam_gate: `multiply` or `residual`, see `AttentiveRPNHead`.
    Raises ValueError for other values of the switches.
    """
    check_choice("sa_parts", sa_parts, PARTS)
    if not 0 < gcb_ratio <= 1:
        raise ValueError(f"gcb_ratio must be above 0 and at most 1, not {gcb_ratio}")
    body = build_backbone(backbone, scale=scale, dialect=dialect)
    add_global_context(body, ratio=gcb_ratio)
    neck = FeaturePyramid(body.channels, channels=scale.channels)
    if "sam" in sa_parts:
        neck = nn.Sequential(neck, BalancedPyramid(scale.channels))
    rpn = attentive_region_proposals(scale, dialect=dialect, aam_gate=aam_gate) if "aam" in sa_parts else None
    heads = mask_rcnn_heads(num_classes=num_classes, scale=scale, dialect=dialect)
    return two_stage(heads, backbone=body, scale=scale, input_size=input_size, dialect=dialect, neck=neck, rpn=rpn)


def add_global_context(backbone: Backbone, *, ratio: float) -> None:
    """Put a global context block behind the last norm of every block of res3, res4 and res5, in place.

    The blocks of timm's ResNets have a slot there, before the shortcut is added. Raises ValueError for a backbone
    without such blocks, or whose slots are taken.
    """
    body = backbone.body
    stages = [getattr(body, name, None) for name in ("layer2", "layer3", "layer4")]
    blocks = [block for stage in stages if stage is not None for block in stage]
    if None in stages or not all(hasattr(block, "se") and block.se is None for block in blocks):
        raise ValueError(
            "global context blocks go into plain residual blocks layer2..layer4, which"
            f" {type(body).__name__} does not have; change the experiment's backbone, or its stand-in in the profile's"
            " scale, to a ResNet of timm"
        )
    for block in blocks:
        last = block.conv3 if hasattr(block, "conv3") else block.conv2
        with last.weight.device:
            block.se = global_context(last.out_channels, ratio=ratio)
