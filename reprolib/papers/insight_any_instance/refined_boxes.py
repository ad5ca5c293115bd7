"""A person's boxes, moved by the box heads before they prompt masks (switch `prompt_refine_box`)."""

from __future__ import annotations

from torch import Tensor

from reprolib.models.input_transform import scale_boxes
from reprolib.models.systems.cascade_mask_rcnn.cascade import CascadeHeads
from reprolib.models.two_stage.prompts import Encoded
from reprolib.models.two_stage.roi_heads import RoIHeads


def refine_boxes(heads: RoIHeads | CascadeHeads, encoded: Encoded, boxes: Tensor, labels: Tensor) -> Tensor:
    """boxes [N,4] xyxy px of the image given, labels [N] in 1..K -> the boxes as the heads regress them, clipped.

    A cascade moves them stage by stage, as it moves proposals.
    """
    batch, features, context = encoded.batch, encoded.features, encoded.context
    x, y = batch.to_original(0)
    moved = [scale_boxes(boxes, 1 / x, 1 / y)]
    if isinstance(heads, CascadeHeads):
        for stage in heads.box_stages:
            _, deltas = stage(heads.box_features(features, context, moved))
            moved = stage.refine(moved, deltas, batch.image_sizes)
    else:
        _, deltas = heads.box_stage(heads.box_pooler(features, moved))
        moved = heads.box_stage.refine(moved, deltas, batch.image_sizes, [labels])
    return scale_boxes(moved[0], x, y)
