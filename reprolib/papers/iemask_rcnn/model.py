"""IEMask R-CNN: Mask R-CNN with an information-enhanced FPN, a bottom-up path and an encoding-decoding mask head."""

from __future__ import annotations

from torch import nn

from reprolib.models.input_transform import InputSize
from reprolib.models.two_stage.detector import two_stage
from reprolib.models.two_stage.mask_branch import plain_mask_branch
from reprolib.models.two_stage.roi_heads import mask_rcnn_heads
from reprolib.papers.iemask_rcnn.mask_head import build_mask_head
from reprolib.papers.iemask_rcnn.neck import InformationEnhancedFPN
from reprolib.papers.iemask_rcnn.switches import resolve_switches
from reprolib.params import Scale

NAME = "IEMask R-CNN"


def build(
    *,
    num_classes: int,
    backbone: str,
    components: tuple[str, ...] = (),
    scale: Scale,
    input_size: InputSize,
    variant: str = "code",
    stride_in_1x1: bool = False,
    **switches: object,
) -> nn.Module:
    """IEMask R-CNN with these components (paper figure 2); without any it is Mask R-CNN.

    components: of `cem`, `gim`, `bottomup`, `aff`, `encdechead`.
    variant: `code` (default; what was measured) or `paper` (the text); single switches in `switches.Switches`.
    stride_in_1x1: where a bottleneck strides; the code's weights have it in the 1x1, the reported FLOPs fit the 3x3.
    Raises ValueError for unknown components or switches.
    """
    chosen = resolve_switches(components, variant=variant, **switches)

    def neck(in_channels: list[int]) -> nn.Module:
        return InformationEnhancedFPN(in_channels, channels=scale.channels, components=components, switches=chosen)

    mask_branch = None
    if "encdechead" in components:
        mask_branch = plain_mask_branch(
            num_classes=num_classes,
            scale=scale,
            dialect="d2",
            head=build_mask_head(channels=scale.channels, num_masks=num_classes, switches=chosen),
            resolution=chosen.mask_resolution,
        )
    return two_stage(
        mask_rcnn_heads(num_classes=num_classes, scale=scale, dialect="d2", mask_branch=mask_branch),
        backbone=backbone,
        scale=scale,
        input_size=input_size,
        dialect="d2",
        neck=neck,
        stride_in_1x1=stride_in_1x1,
    )
