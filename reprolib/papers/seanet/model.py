"""SEANet: Mask R-CNN with a fully convolutional box head that predicts IoU and a mask head that attends to edges."""

from __future__ import annotations

from torch import nn

from reprolib.models.detections import detection_rule
from reprolib.models.input_transform import InputSize
from reprolib.models.two_stage.detector import TwoStage, two_stage
from reprolib.models.two_stage.roi_heads import RoIHeads, mask_rcnn_heads
from reprolib.models.two_stage.roi_pooler import roi_pooler
from reprolib.models.two_stage.samples import RoISampler
from reprolib.papers.seanet.box_stage import fully_convolutional_box_stage
from reprolib.papers.seanet.edge_branch import seanet_mask_branch
from reprolib.papers.seanet.heads import BoundaryAwareHeads
from reprolib.papers.seanet.roi_fusion import all_level_concat
from reprolib.papers.seanet.switches import Switches, resolve_switches
from reprolib.params import Scale

NAME = "SEANet"
DIALECT = "mm"


def build(
    *,
    num_classes: int,
    backbone: str,
    components: tuple[str, ...] = (),
    scale: Scale,
    input_size: InputSize,
    variant: str = "spec",
    **switches: object,
) -> TwoStage:
    """SEANet with these components (paper, figure 2) on one of its two frameworks, `host`.

    components: of `biou` (the box head), `attention` (the mask head), `edge` (its edges are supervised). With none
    it is the framework on the code's RoI features, and with roi_fusion single_level the framework itself.
    variant: `spec` (default; the paper, and what it leaves open as the card says) or `code` (what the authors' code
    computes); single switches in `switches.Switches`. Raises ValueError for unknown components or switches.
    """
    chosen = resolve_switches(components, pretrained=scale.pretrained, variant=variant, **switches)
    return two_stage(
        seanet_heads(num_classes=num_classes, scale=scale, components=components, switches=chosen),
        backbone=backbone,
        scale=scale,
        input_size=input_size,
        dialect=DIALECT,
    )


def seanet_heads(*, num_classes: int, scale: Scale, components: tuple[str, ...], switches: Switches) -> RoIHeads:
    """The RoI heads; the background counts in the masks and in the plain box head, not in the convolutional one."""
    box_pooler, mask_pooler = (pooler(resolution, scale=scale, switches=switches) for resolution in (7, 14))
    mask_branch = seanet_mask_branch(
        num_classes=num_classes,
        scale=scale,
        dialect=DIALECT,
        pooler=mask_pooler,
        components=components,
        switches=switches,
    )
    if "biou" not in components:
        return mask_rcnn_heads(
            num_classes=num_classes,
            scale=scale,
            dialect=DIALECT,
            background_channels=True,
            box_pooler=box_pooler,
            mask_branch=mask_branch,
        )
    return BoundaryAwareHeads(
        sampler=RoISampler(iou=0.5, batch=scale.roi_batch),
        box_pooler=box_pooler,
        box_stage=fully_convolutional_box_stage(num_classes=num_classes, scale=scale, switches=switches),
        mask_branch=mask_branch,
        rule=detection_rule(scale),
        switches=switches,
    )


def pooler(resolution: int, *, scale: Scale, switches: Switches) -> nn.Module:
    """P2..P5, boxes -> [R,C,resolution,resolution], from all levels or from the one of the box's size."""
    if switches.roi_fusion == "single_level":
        return roi_pooler(resolution, dialect=DIALECT)
    return all_level_concat(
        resolution, channels=scale.channels, dialect=DIALECT, dead_pair=switches.count_dead_roi_convs
    )
