"""RoI heads with the fully convolutional box head: one detection per proposal, ranked by class score times IoU."""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reprolib.models.detections import DetectionRule, detect
from reprolib.models.two_stage.mask_branch import MaskBranch
from reprolib.models.two_stage.roi_heads import RoIHeads
from reprolib.models.two_stage.samples import RoISampler
from reprolib.papers.seanet.box_stage import FullyConvolutionalBoxStage
from reprolib.papers.seanet.switches import Switches


class BoundaryAwareHeads(RoIHeads):
    """SEANet's RoI heads (paper figure 2). The mask branch trains on the positive proposals, not on boxes found.

    rule: with `switches.nms_threshold` in place of its own. Other parameters: see `RoIHeads`.
    """

    def __init__(
        self,
        *,
        sampler: RoISampler,
        box_pooler: nn.Module,
        box_stage: FullyConvolutionalBoxStage,
        mask_branch: MaskBranch,
        rule: DetectionRule,
        switches: Switches,
    ) -> None:
        super().__init__(
            sampler=sampler,
            box_pooler=box_pooler,
            box_stage=box_stage,
            mask_branch=mask_branch,
            rule=dataclasses.replace(rule, nms_threshold=switches.nms_threshold),
        )

    def forward(
        self,
        features: list[Tensor],
        proposals: list[Tensor],
        image_sizes: list[tuple[int, int]],
        targets: list[dict],
    ) -> dict[str, Tensor]:
        """The losses of boxes and masks."""
        samples = self.sampler(proposals, targets)
        outputs = self.box_stage(self.box_pooler(features, samples.boxes))
        losses = self.box_stage.losses(outputs, samples, targets)
        return losses | self.mask_branch.losses(features, samples.positives(), targets)

    def box_inference(
        self, features: list[Tensor], context: None, proposals: list[Tensor], image_sizes: list[tuple[int, int]]
    ) -> list[dict[str, Tensor]]:
        """Detections without masks."""
        outputs = self.box_stage(self.box_pooler(features, proposals))
        counts = [len(boxes) for boxes in proposals]
        found = []
        for *parts, rois, size in zip(*(part.split(counts) for part in outputs), proposals, image_sizes, strict=True):
            boxes, scores = self.box_stage.inference(type(outputs)(*parts), rois)
            found.append(self._of_image(boxes, scores, size))
        return found

    def class_scores(self, features: list[Tensor], context: None, boxes: list[Tensor]) -> Tensor:
        """Of boxes [N,4] per image as they are: the scores [sum of N,1+K] at the cell that would be the detection.

        The background, which this head has no score for, is 0.
        """
        outputs = self.box_stage(self.box_pooler(features, boxes))
        return F.pad(self.box_stage.inference(outputs, torch.cat(boxes))[1], (1, 0))

    def _of_image(self, boxes: Tensor, scores: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
        def decode(rows: Tensor, labels: Tensor) -> Tensor:
            return boxes[rows]  # the same for every class

        with_background = F.pad(scores, (1, 0))
        return detect(with_background, decode, size, self.rule)
