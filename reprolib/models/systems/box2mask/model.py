"""Box2Mask-C (Li et al., 2022): SOLOv2 whose masks are learned from boxes, by level sets."""

from __future__ import annotations

from torch import nn

from reprolib.models.detections import detection_rule
from reprolib.models.input_transform import InputSize
from reprolib.models.one_stage.detector import OneStage, one_stage
from reprolib.models.switch_checks import check_choice
from reprolib.models.systems.box2mask.box2mask_head import ROUNDS, Box2MaskHead
from reprolib.models.systems.solov2.solov2_head import CellBranches
from reprolib.models.systems.solov2.solov2_levels import ANCHOR, find_form, levels_of
from reprolib.models.systems.solov2.unified_mask_feature import UnifiedMaskFeature, conv_norm_relu
from reprolib.params import Scale

NAME = "Box2Mask-C"
STD = 0.01  # of initial weights
LEVEL_SET = 5  # channels of the feature map that the level set energy is computed on


def build(
    *,
    num_classes: int,
    backbone: str,
    scale: Scale,
    input_size: InputSize,
    trees: str = "mst",
    mask_norm: str = "none",
    consistency_rounds: int = ROUNDS,
    mask_threshold: float = 0.55,
) -> OneStage:
    """The detector for `num_classes` foreground classes; raises ValueError for other values of the switches.

    Masks of the training data are not used. The C variant's code is not public: this is BoxLevelSet's network and
    assignment with the local consistency of Box2Mask-T, whose code is.

    trees: `mst` adds a level set loss on maps that are filtered along minimum spanning trees; `off` leaves it out.
    mask_norm: of the mask feature's convolutions, `none` as in the published code, or `group`.
    consistency_rounds: how often masks are averaged over similar pixels. Until April 2023 each of the ten rounds of the
    published code started from the mask itself, which equals a single round.
    mask_threshold: of probabilities; BoxLevelSet's is 0.55 on COCO, 0.45 on iSAID.
    """
    check_choice("trees", trees, ("mst", "off"))
    check_choice("mask_norm", mask_norm, ("none", "group"))
    if consistency_rounds < 1:
        raise ValueError(f"consistency_rounds must be at least 1, not {consistency_rounds}")
    if not 0 < mask_threshold < 1:
        raise ValueError(f"mask_threshold must lie between 0 and 1, not {mask_threshold}")
    channels = scale.channels
    conv = conv_norm_relu if mask_norm == "group" else _conv_relu
    head = Box2MaskHead(
        levels=levels_of(find_form("full"), scale=scale, short_side=input_size.test_size),
        branches=CellBranches(channels, width=channels, convs=4, num_classes=num_classes, kernel=channels, last=1),
        mask_feature=UnifiedMaskFeature(channels, width=channels, out_channels=channels, conv=conv, fuse=_conv),
        level_set=_conv(channels, LEVEL_SET, kernel_size=3),
        rule=detection_rule(scale),
        trees=trees == "mst",
        consistency_rounds=consistency_rounds,
        mask_threshold=mask_threshold,
        smaller=scale.anchor_sizes[0] / ANCHOR,
    )
    return one_stage(head, backbone=backbone, scale=scale, input_size=input_size)


def _conv_relu(in_channels: int, out_channels: int, *, kernel_size: int) -> nn.Sequential:
    return nn.Sequential(_conv(in_channels, out_channels, kernel_size=kernel_size, bias=False), nn.ReLU(inplace=True))


def _conv(in_channels: int, out_channels: int, *, kernel_size: int, bias: bool = True) -> nn.Conv2d:
    """Of the same size; weights from a normal distribution of 0.01, as in the published code."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias)
    nn.init.normal_(conv.weight, std=STD)
    if bias:
        nn.init.zeros_(conv.bias)
    return conv
