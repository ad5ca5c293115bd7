"""Every comparison: the reference's configuration, our system at the same sizes, and what differs today.

Sizes are small, structures are published: FPN and heads are CHANNELS and HIDDEN wide, backbones are whole. All boxes
and anchors are sampled (EVERY) where the reference lets them, so that no random draw stands between the losses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from torch import nn

from reprolib.models.input_transform import InputSize
from reprolib.models.systems.mask_rcnn import model as mask_rcnn
from reprolib.params import Scale
from tests.parity import renames
from tests.parity.renames import Renames
from tests.parity.scenes import CLASSES

CHANNELS, HIDDEN = 32, 64
EVERY = 1_000_000  # more than there are: all anchors, all proposals
PRE_NMS, POST_NMS = (200, 100), (60, 40)  # proposals per level before and per image after NMS, training and test
DETECTIONS = 20

# Predictors at which boxes stay near their anchors and classes are neither certain nor all alike.
MM_DAMPING = {r"rpn_reg\.": 0.15, r"rpn_cls\.": 0.5, r"fc_reg\.": 0.5, r"conv_logits\.": 0.7}
# detectron2's input stays on the 0..255 scale.
D2_DAMPING = {
    r"stem\.conv1\.weight": 1 / 57,
    r"anchor_deltas\.": 0.15,
    r"objectness_logits\.": 0.5,
    r"bbox_pred\.": 0.5,
    r"mask_head\.predictor": 0.7,
}

INPUT_SIZE = InputSize(min_sizes=(96,), test_size=96, max_size=128)  # the scenes' own sizes: nothing is resized
SCALE = Scale(
    pretrained=False,
    channels=CHANNELS,
    box_hidden=HIDDEN,
    rpn_pre_nms=PRE_NMS,
    rpn_post_nms=POST_NMS,
    rpn_batch=EVERY,
    roi_batch=EVERY,
    detections=DETECTIONS,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """id: also the name of the golden file. reference: the module of `make` that runs it. config: the reference's file
    of settings, whose widths and counts `make` brings to those above. edits: dotted name -> value of other settings.
    build: our system. losses: see `Renames.rules`.
    differs: group of quantities -> why it is not equal today, and the item that will mend it. on_purpose: what stays
    different, for the table. scenes: arguments of `make_scenes`.
    """

    id: str
    reference: str
    config: str
    build: Callable[[], nn.Module]
    renames: Renames
    losses: tuple[tuple[str, str], ...]
    damping: Mapping[str, float]
    differs: Mapping[str, str] = field(default_factory=dict)
    on_purpose: str = ""
    scenes: Mapping[str, object] = field(default_factory=dict)
    edits: Mapping[str, object] = field(default_factory=dict)

    def loss_name(self, name: str) -> str | None:
        """Our name of a loss of the reference; None where it is no loss but a statistic."""
        return Renames(rules=(*self.losses, (".*", "")))(name) or None


def _build(module, *, scale: Scale = SCALE, **switches) -> Callable[[], nn.Module]:
    return lambda: module.build(
        num_classes=CLASSES, backbone="resnet50", scale=scale, input_size=INPUT_SIZE, **switches
    )


def both(*losses: str, because: str) -> dict[str, str]:
    """`Case.differs` for the values and the gradients of these losses."""
    return {f"{kind} {loss}": because for loss in losses for kind in ("loss", "gradients")}


def smooth_l1(beta: float) -> dict:
    """The box losses of mmdetection 1.x, in the terms of 3.x."""
    return {"type": "SmoothL1Loss", "beta": beta, "loss_weight": 1.0}


CASES = (
    Case(
        id="mask_rcnn-mmdetection",
        reference="mmdetection",
        config="mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py",
        build=_build(mask_rcnn, dialect="mm"),
        renames=renames.MMDETECTION_MASK_RCNN,
        losses=renames.MMDETECTION_LOSSES,
        damping=MM_DAMPING,
        differs=both("loss_rpn_box_reg", "loss_box_reg", because="3.x trains boxes by L1, `mm` by smooth L1: item A3"),
    ),
    Case(
        id="mask_rcnn-mmdetection-smooth_l1",
        reference="mmdetection",
        config="mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py",
        edits={"rpn_head.loss_bbox": smooth_l1(1 / 9), "roi_head.bbox_head.loss_bbox": smooth_l1(1.0)},
        build=_build(mask_rcnn, dialect="mm"),
        renames=renames.MMDETECTION_MASK_RCNN,
        losses=renames.MMDETECTION_LOSSES,
        damping=MM_DAMPING,
    ),
    Case(
        id="mask_rcnn-detectron2",
        reference="detectron2",
        config="COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml",
        # detectron2 divides the RPN's losses by the number that may be sampled; 256 of each image's anchors fill it.
        build=_build(mask_rcnn, dialect="d2", stride_in_1x1=True, scale=replace(SCALE, rpn_batch=256, roi_batch=512)),
        renames=renames.DETECTRON2_MASK_RCNN,
        losses=renames.DETECTRON2_LOSSES,
        damping=D2_DAMPING,
    ),
)
