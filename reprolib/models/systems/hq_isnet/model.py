"""HQ-ISNet (Su et al., Remote Sensing 2020, 12, 989): HRNetV2, its own pyramid, a cascade whose masks feed on.

The article names HRNet, HRFPN and Cascade Mask R-CNN and says that information flows between the mask branches.
HTC without its semantic branch is the published cascade of that kind (spec section 7).
"""

from __future__ import annotations

from reprolib.models.systems.cascade_mask_rcnn.cascade import cascade_heads
from reprolib.models.systems.hq_isnet.high_resolution_pyramid import HighResolutionPyramid
from reprolib.models.systems.htc.hybrid_task_cascade import htc_heads
from reprolib.models.two_stage.detector import TwoStage, two_stage
from reprolib.params import Scale, Schedule

NAME = "HQ-ISNet"
HEADS = {"htc_nosem": htc_heads, "cascade_mm": cascade_heads}


def build(
    *,
    num_classes: int,
    backbone: str,
    components: tuple[str, ...] = (),
    scale: Scale,
    schedule: Schedule,
    dialect: str = "mm",
    hqis_head: str = "htc_nosem",
    hrfpn_pool: str = "avg",
) -> TwoStage:
    """The detector for `num_classes` foreground classes on `hrnet_w18`, `hrnet_w32` or `hrnet_w40`.

    hqis_head: `htc_nosem` (mask information flow) or `cascade_mm` (plain Cascade Mask R-CNN, three mask heads).
    hrfpn_pool: see `HighResolutionPyramid`. Raises ValueError for any component and for unknown switches.
    """
    if components:
        raise ValueError(f"{NAME} has no components, but {', '.join(components)} is switched on")
    if hqis_head not in HEADS:
        raise ValueError(f"hqis_head must be one of {', '.join(HEADS)}, not {hqis_head!r}")
    return two_stage(
        backbone=backbone,
        scale=scale,
        schedule=schedule,
        dialect=dialect,
        neck=lambda widths: HighResolutionPyramid(widths, channels=scale.channels, hrfpn_pool=hrfpn_pool),
        roi_heads=HEADS[hqis_head](num_classes=num_classes, scale=scale, dialect=dialect),
    )
