"""Which boxes the RoI heads train on: proposals matched with the ground truth, and a batch drawn from them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.models.detection import _utils
from torchvision.ops import box_iou

from reprolib.models.on_device import rows_where


class Matcher(_utils.Matcher):
    """torchvision's, without counting on the host what it matches at low quality."""

    def set_low_quality_matches_(self, matches: Tensor, all_matches: Tensor, match_quality_matrix: Tensor) -> None:
        """Boxes that no other overlaps an instance more than keep their match [N], however low its IoU [G,N]."""
        best = (match_quality_matrix == match_quality_matrix.amax(1, keepdim=True)).any(0)
        matches.copy_(torch.where(best, all_matches, matches))


class Samples(NamedTuple):
    """Training boxes, one entry per image."""

    boxes: list[Tensor]  # [S,4] xyxy in batch pixels
    labels: list[Tensor]  # [S], 0 = background, else 1..K
    matched: list[Tensor]  # [S] index of the ground-truth instance (0 where there is none)
    ground_truth: list[Tensor]  # [S] bool, the box is an instance's own, appended to the proposals
    positive: list[Tensor] | None = None  # [P] rows that are not background, rising, where they are known already

    def select(self, chosen: list[Tensor], *, positive: list[Tensor] | None = None) -> Samples:
        """The boxes at each image's rows."""
        parts = self.boxes, self.labels, self.matched, self.ground_truth
        return Samples(
            *([values[rows] for values, rows in zip(part, chosen, strict=True)] for part in parts), positive=positive
        )

    def with_positive(self) -> Samples:
        """The same samples, `positive` known."""
        if self.positive is not None:
            return self
        return self._replace(positive=rows_where([label > 0 for label in self.labels]))

    def positives(self) -> Samples:
        """Only the boxes that are not background."""
        rows = self.with_positive().positive
        return self.select(
            rows, positive=[torch.arange(len(image_rows), device=image_rows.device) for image_rows in rows]
        )

    def positive_rows(self) -> Tensor:
        """[sum of P] rows, among all images' boxes joined, of those that are not background."""
        return joined_rows(self.with_positive().positive, [len(labels) for labels in self.labels])

    def with_boxes(self, boxes: list[Tensor]) -> Samples:
        """The same samples, their boxes moved."""
        return self._replace(boxes=boxes)


class RoISampler:
    """Matches boxes with instances at one IoU and draws a batch of `batch` per image.

    positive: share of the batch that is positive, at most.
    """

    def __init__(self, *, iou: float, batch: int, positive: float = 0.25) -> None:
        self.iou, self.batch, self.positive = iou, batch, positive
        self.matcher = Matcher(iou, iou, allow_low_quality_matches=False)

    @torch.no_grad()
    def __call__(self, proposals: list[Tensor], targets: list[dict]) -> Samples:
        """Append the ground truth to the proposals ([N,4] per image), match, draw."""
        truth = [self.added(target).to(boxes) for boxes, target in zip(proposals, targets, strict=True)]
        samples = self.label([torch.cat(pair) for pair in zip(proposals, truth, strict=True)], targets)
        ground_truth = [
            torch.arange(len(all_boxes), device=all_boxes.device) >= len(boxes)
            for all_boxes, boxes in zip(samples.boxes, proposals, strict=True)
        ]
        drawn = draw(samples.labels, batch=self.batch, positive=self.positive)
        chosen = [torch.cat(rows).sort().values for rows in drawn]
        positive = [
            torch.searchsorted(rows, positive_rows) for rows, (positive_rows, _) in zip(chosen, drawn, strict=True)
        ]
        return samples._replace(ground_truth=ground_truth).select(chosen, positive=positive)

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


def draw(labels: Sequence[Tensor], *, batch: int, positive: float) -> list[tuple[Tensor, Tensor]]:
    """At most `batch` rows of each image's labels [N], at most the share `positive` of them positive, at random.

    Labels of 1 and above are positive, 0 is negative, others are not drawn. Returns per image the positive and the
    negative rows, rising. It draws what torchvision's `BalancedPositiveNegativeSampler` draws, from the same random
    numbers; as rows, whose number is known, where masks would have to be counted again.
    """
    rows = rows_where([mask for label in labels for mask in (label >= 1, label == 0)])
    drawn = []
    for some, others in zip(rows[0::2], rows[1::2], strict=True):
        count = min(len(some), int(batch * positive))
        counts = count, min(len(others), batch - count)
        chosen = [
            torch.randperm(len(candidates), device=candidates.device)[:most]
            for candidates, most in zip((some, others), counts, strict=True)
        ]
        drawn.append((some[chosen[0]].sort().values, others[chosen[1]].sort().values))
    return drawn


def joined_rows(rows: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    """Each image's rows, of its `sizes` many, as rows of all images joined."""
    starts = [0, *itertools.accumulate(sizes)]
    return torch.cat([own + start for own, start in zip(rows, starts[:-1], strict=True)])
