"""HQ-ISNet (Su et al., Remote Sensing 2020, 12, 989): HRNetV2, its own pyramid, a cascade with mask flow.

The article names HRNet, HRFPN and Cascade Mask R-CNN and says that information flows between the mask branches.
HTC without its semantic branch is the published cascade of that kind (spec section 7).
"""

from __future__ import annotations

from reprolib.models.input_transform import InputSize
from reprolib.models.switch_checks import check_choice
from reprolib.models.systems.cascade_mask_rcnn.cascade import cascade_heads
from reprolib.models.systems.hq_isnet.high_resolution_pyramid import HighResolutionPyramid
from reprolib.models.systems.htc.hybrid_task_cascade import htc_heads
from reprolib.models.two_stage.detector import TwoStage, two_stage
from reprolib.params import Scale

NAME = "HQ-ISNet"
HEADS = {"htc_nosem": htc_heads, "cascade_mm": cascade_heads}


def build(
    *,
    num_classes: int,
    backbone: str,
    scale: Scale,
    input_size: InputSize,
    dialect: str = "mm",
    hqis_head: str = "htc_nosem",
    hrfpn_pool: str = "avg",
) -> TwoStage:
    """The detector for `num_classes` foreground classes on `hrnet_w18`, `hrnet_w32` or `hrnet_w40`.

    hqis_head: `htc_nosem` (mask information flow) or `cascade_mm` (plain Cascade Mask R-CNN, three mask heads).
    hrfpn_pool: see `HighResolutionPyramid`. Raises ValueError for other values of the switches.
    """
    check_choice("hqis_head", hqis_head, HEADS)
    return two_stage(
        HEADS[hqis_head](num_classes=num_classes, scale=scale, dialect=dialect),
        backbone=backbone,
        scale=scale,
        input_size=input_size,
        dialect=dialect,
        neck=lambda widths: HighResolutionPyramid(widths, channels=scale.channels, hrfpn_pool=hrfpn_pool),
    )
