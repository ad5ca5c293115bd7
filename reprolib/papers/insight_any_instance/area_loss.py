"""PAreaLoss (Algorithm 1): the area of a proposal against that of its instance."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torchvision.ops import box_area, box_iou

from reprolib.models.two_stage.box_stage import BoxStage
from reprolib.models.two_stage.samples import Samples
from reprolib.papers.insight_any_instance.switches import Switches

EPSILON = 1e-6  # px^2


class AreaLoss:
    """Boxes [N,4] per image, with their gradients, and targets -> {"loss_parea": weighted mean over matched boxes}.

    A box belongs to the instance of its highest IoU. Without `match_all` only boxes of at least `iou` are matched,
    and at IoU 0.5 none costs more than 1; with it (the literal reading) all are, and one far too large costs millions.
    No matched box costs 0. trains: otherwise the loss is counted and has no gradient.
    """

    def __init__(self, *, match_all: bool, iou: float, weight: float, trains: bool) -> None:
        self.match_all, self.iou, self.weight, self.trains = match_all, iou, weight, trains

    def __call__(self, boxes: list[Tensor], targets: list[dict]) -> Mapping[str, Tensor]:
        costs = torch.cat(
            [self.costs(one, target["boxes"].to(one)) for one, target in zip(boxes, targets, strict=True)]
        )
        # Boxes without a match stay in the graph, so that their parameters get a gradient, if of zero.
        loss = costs.mean() if len(costs) else torch.cat(boxes).sum() * 0
        return {"loss_parea": self.weight * (loss if self.trains else loss.detach())}

    def costs(self, boxes: Tensor, instances: Tensor) -> Tensor:
        """((A_p - A_g) / (A_g + eps))^2 of the matched ones of boxes [N,4] with instances [G,4]."""
        if not len(instances) or not len(boxes):
            return boxes.new_zeros(0)
        best, instance = box_iou(boxes.detach(), instances).max(1)
        if not self.match_all:
            matched = torch.where(best >= self.iou)[0]
            boxes, instance = boxes[matched], instance[matched]
        wanted = box_area(instances)[instance]
        return ((box_area(boxes) - wanted) / (wanted + EPSILON)) ** 2


def area_loss(switches: Switches) -> AreaLoss:
    """The loss of these switches."""
    return AreaLoss(
        match_all=switches.parea_match == "argmax_all",
        iou=switches.parea_iou_thr,
        weight=switches.parea_weight,
        trains=switches.parea_grad != "none",
    )


class AreaAwareBoxStage(BoxStage):
    """A box stage with the area loss on the boxes that it regresses from the sampled ones, not clipped.

    A sampled box is regressed as its class, a background one as the class it is most like.
    """

    def __init__(self, stage: BoxStage, *, area_loss: AreaLoss) -> None:
        super().__init__(
            head=stage.head,
            predictor=stage.predictor,
            beta=stage.beta,
            background_channels=stage.background_channels,
            weights=stage.box_coder.weights,
        )
        self.area_loss = area_loss

    def losses(self, logits: Tensor, deltas: Tensor, samples: Samples, targets: list[dict]) -> dict[str, Tensor]:
        """Those of a box stage, and loss_parea."""
        labels, boxes = torch.cat(samples.labels), torch.cat(samples.boxes)
        labels = torch.where(labels > 0, labels, logits[:, 1:].argmax(1) + 1)
        moved = self.decode(boxes, deltas, labels).split([len(one) for one in samples.boxes])
        return super().losses(logits, deltas, samples, targets) | self.area_loss(list(moved), targets)
