"""Which boxes the RoI heads train on: proposals matched with the ground truth, and a batch drawn from them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler, Matcher
from torchvision.ops import box_iou


class Samples(NamedTuple):
    """Training boxes, one entry per image."""

    boxes: list[Tensor]  # [S,4] xyxy in batch pixels
    labels: list[Tensor]  # [S], 0 = background, else 1..K
    matched: list[Tensor]  # [S] index of the ground-truth instance (0 where there is none)
    given: list[Tensor]  # [S] bool, the box is an instance's own, appended to the proposals

    def select(self, chosen: list[Tensor]) -> Samples:
        """The boxes that each image's index or mask picks."""
        return Samples(*([part[keep] for part, keep in zip(parts, chosen, strict=True)] for parts in self))

    def positives(self) -> Samples:
        """Only the boxes that are not background."""
        return self.select([label > 0 for label in self.labels])

    def with_boxes(self, boxes: list[Tensor]) -> Samples:
        """The same samples, their boxes moved."""
        return self._replace(boxes=boxes)


class RoISampler:
    """Matches boxes with instances at one IoU and draws a batch of `batch` per image, a quarter positive."""

    def __init__(self, *, iou: float, batch: int) -> None:
        self.iou, self.batch = iou, batch
        self.matcher = Matcher(iou, iou, allow_low_quality_matches=False)
        self.draw = BalancedPositiveNegativeSampler(batch, 0.25)

    @torch.no_grad()
    def __call__(self, proposals: list[Tensor], targets: list[dict]) -> Samples:
        """Append the ground truth to the proposals ([N,4] per image), match, draw."""
        truth = [self.added(target).to(boxes) for boxes, target in zip(proposals, targets, strict=True)]
        samples = self.label([torch.cat(pair) for pair in zip(proposals, truth, strict=True)], targets)
        given = [
            torch.arange(len(all_boxes), device=all_boxes.device) >= len(boxes)
            for all_boxes, boxes in zip(samples.boxes, proposals, strict=True)
        ]
        chosen = [torch.where(p | n)[0] for p, n in zip(*self.draw(samples.labels), strict=True)]
        return samples._replace(given=given).select(chosen)

    def added(self, target: dict) -> Tensor:
        """The boxes [G,4] that join an image's proposals: those of all its instances."""
        return target["boxes"]

    @torch.no_grad()
    def label(self, boxes: list[Tensor], targets: list[dict]) -> Samples:
        """Match all boxes ([N,4] per image); none is added and none left out."""
        matched, labels = [], []
        for candidates, target in zip(boxes, targets, strict=True):
            if len(target["boxes"]):
                match = self.matcher(box_iou(target["boxes"].to(candidates), candidates))
                matched.append(match.clamp(min=0))
                labels.append(target["labels"][matched[-1]].masked_fill(match < 0, 0))
            else:
                matched.append(torch.zeros(len(candidates), dtype=torch.long, device=candidates.device))
                labels.append(torch.zeros_like(matched[-1]))
        return Samples(boxes, labels, matched, [torch.zeros_like(label, dtype=torch.bool) for label in labels])
