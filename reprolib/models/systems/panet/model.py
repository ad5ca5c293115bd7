"""PANet (Liu et al., CVPR 2018): bottom-up path, adaptive feature pooling, fully connected fusion."""

from __future__ import annotations

from functools import partial

from torch import nn

from reprolib.models.dialects import find_dialect
from reprolib.models.input_transform import InputSize
from reprolib.models.switch_checks import check_choice
from reprolib.models.systems.panet.adaptive_feature_pooling import (
    AdaptiveFeaturePooling,
    first_convolution,
    first_linear,
    later_linear,
)
from reprolib.models.systems.panet.fully_connected_fusion import FullyConnectedFusionHead
from reprolib.models.systems.panet.path_aggregation import PathAggregationPyramid
from reprolib.models.two_stage.detector import TwoStage, two_stage
from reprolib.models.two_stage.mask_branch import plain_mask_branch
from reprolib.models.two_stage.roi_heads import RoIHeads, mask_rcnn_heads
from reprolib.models.two_stage.roi_pooler import all_level_pooler
from reprolib.params import Scale

NAME = "PANet"
PARTS = ("neck", "neck+fcf", "full")


def build(
    *,
    num_classes: int,
    backbone: str,
    scale: Scale,
    input_size: InputSize,
    dialect: str = "mm",
    panet_parts: str = "full",
    pa_chain: str | None = None,
    pa_relu: bool | None = None,
    afp_first: str = "per_level",
    afp_fuse: str = "max",
    fcf_relu: bool = True,
    stride_in_1x1: bool = False,
) -> TwoStage:
    """Mask R-CNN with PANet's parts.

    panet_parts: `full`; `neck`, the bottom-up path alone, which is all that mmdetection has of PANet; `neck+fcf`.
    pa_chain, pa_relu: see `PathAggregationPyramid`; unset, `post_conv` with ReLU as in the paper, but `pre_conv`
    without ReLU in the mm dialect. afp_first, afp_fuse: see `AdaptiveFeaturePooling`. fcf_relu: see
    `FullyConnectedFusionHead`.
    The box head is the two-layer one of Mask R-CNN: the counts and FLOPs reported for PANet rule out the authors'
    own (four convolutions and one FC, with GroupNorm in heads and pyramid), which is not built.
    Raises ValueError for other values of the switches.
    """
    check_choice("panet_parts", panet_parts, PARTS)
    like_mm = find_dialect(dialect).name == "mm"
    chain = pa_chain or ("pre_conv" if like_mm else "post_conv")
    relu = not like_mm if pa_relu is None else pa_relu
    roi_heads = _roi_heads(
        panet_parts,
        num_classes=num_classes,
        scale=scale,
        dialect=dialect,
        pooling=partial(AdaptiveFeaturePooling, first=afp_first, fuse=afp_fuse),
        fcf_relu=fcf_relu,
    )
    return two_stage(
        roi_heads,
        backbone=backbone,
        scale=scale,
        input_size=input_size,
        dialect=dialect,
        neck=partial(PathAggregationPyramid, channels=scale.channels, chain=chain, relu=relu),
        stride_in_1x1=stride_in_1x1,
    )


def _roi_heads(
    parts: str,
    *,
    num_classes: int,
    scale: Scale,
    dialect: str,
    pooling: partial[AdaptiveFeaturePooling],
    fcf_relu: bool,
) -> RoIHeads:
    published = partial(mask_rcnn_heads, num_classes=num_classes, scale=scale, dialect=dialect)
    if parts == "neck":
        return published()
    head = FullyConnectedFusionHead(
        scale.channels,
        outputs=num_classes + find_dialect(dialect).background_channels,
        relu=fcf_relu,
        first=parts != "full",
    )
    masks = partial(plain_mask_branch, num_classes=num_classes, scale=scale, dialect=dialect, head=head)
    if parts == "neck+fcf":
        return published(mask_branch=masks())

    def adaptive(resolution: int, layer: partial[nn.Module]) -> AdaptiveFeaturePooling:
        return pooling(pooler=all_level_pooler(resolution, dialect=dialect), layer=layer)

    linear = partial(first_linear, scale.channels, resolution=7, hidden=scale.box_hidden)
    return published(
        box_pooler=adaptive(7, linear),
        box_head=later_linear(scale.box_hidden),
        mask_branch=masks(pooler=adaptive(14, partial(first_convolution, scale.channels))),
    )
