"""Masks by vote of overlapping boxes (MNC, Dai et al., CVPR 2016, section 3.4; FCIS, Li et al., CVPR 2017)."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import box_iou

from reprolib.models.detections import DetectionRule, detect
from reprolib.models.mask_resize import mask_boxes
from reprolib.models.two_stage.paste import paste_masks

NEAR = 0.5  # a box votes for another box's mask at this IoU or more
BINARY = 0.4  # least probability of a pixel inside a voter's mask, and inside the resulting mask


@torch.no_grad()
def vote(
    boxes: Tensor, scores: Tensor, masks: Tensor, *, size: tuple[int, int], rule: DetectionRule
) -> dict[str, Tensor]:
    """One image's detections: boxes [N,4] px, labels [N] in 1..K, scores [N] best first, masks bool [N,*size].

    boxes [M,4] xyxy px, class scores [M,1+K] with background first, mask probabilities [M,m,m] of all candidates.
    Each box that NMS by class keeps gets the mean of its neighbours' masks, weighted by their scores of its class; its
    box becomes the extent of that. What has no pixel is left out.
    """
    detections = detect(scores, lambda rows, labels: boxes[rows], size, rule)
    near = box_iou(detections["boxes"], boxes) >= NEAR
    voted = torch.zeros((len(near), *size), dtype=torch.bool, device=boxes.device)
    for out, row, label in zip(voted, near, detections["labels"], strict=True):
        voters = torch.where(row)[0]
        weights = scores[voters, label]
        # Pasting compares with 0.5.
        pasted = paste_masks(masks[voters] * (0.5 / BINARY), boxes[voters], size).to(weights)
        torch.ge(torch.tensordot(weights / weights.sum(), pasted, dims=1), BINARY, out=out)
    extent, some = mask_boxes(voted)
    return {
        "boxes": extent[some],
        "labels": detections["labels"][some],
        "scores": detections["scores"][some],
        "masks": voted[some],
    }
