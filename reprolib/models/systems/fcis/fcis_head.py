"""The head of FCIS (Li et al., CVPR 2017): position-sensitive maps of inside and outside tell classes and masks."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import clip_boxes_to_image

from reprolib.models.detections import DetectionRule
from reprolib.models.input_transform import Batch, scale_boxes
from reprolib.models.losses import mask_cross_entropy
from reprolib.models.parts import HEAD, part
from reprolib.models.systems.fcis.mask_voting import vote
from reprolib.models.systems.fcis.position_sensitive import GROUPS, PositionSensitivePooler
from reprolib.models.two_stage.box_coder import BoxCoder
from reprolib.models.two_stage.mask_branch import mask_targets
from reprolib.models.two_stage.region_proposals import RegionProposals
from reprolib.models.two_stage.samples import RoISampler

CODER = BoxCoder((5.0, 5.0, 2.0, 2.0))  # 1 / deviation: 0.2 of centres, 0.5 of sides
BETA = 1.0  # of Smooth L1
MASK_WEIGHT = 10.0
TARGET = 0.4  # a cell belongs to the mask if this share of it or more does
KEPT = 128  # boxes of an image that are trained: those with the largest loss


class FCISNeck(nn.Module):
    """[C2..C5] -> [C4, C5 narrowed by a 1x1 convolution with ReLU]. widths: of C2..C5. channels: 1024."""

    def __init__(self, widths: list[int], *, channels: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(widths[-1], channels, 1)
        nn.init.normal_(self.reduce.weight, std=0.01)
        nn.init.zeros_(self.reduce.bias)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        return [maps[2], self.reduce(maps[3]).relu_()]


class Predictions(NamedTuple):
    """What the learned layers but the proposals' give for a batch, at stride 16."""

    shared: Tensor  # C4, which the proposals read
    scores: Tensor  # [B,49*2*(1+K),h,w]
    deltas: Tensor  # [B,49*2*4,h,w], of background and object


class Pooled(NamedTuple):
    """What R boxes see."""

    inside: Tensor  # [R,1+K,21,21], background first
    outside: Tensor  # the same
    deltas: Tensor  # [R,4]

    def logits(self) -> Tensor:
        """Class logits [R,1+K]: the mean over the box of the larger of inside and outside."""
        return torch.maximum(self.inside, self.outside).mean((2, 3))

    def masks(self, labels: Tensor) -> Tensor:
        """Mask logits [R,21,21] of the classes [R] in 1..K: the sigmoid is the softmax of inside and outside."""
        rows = torch.arange(len(labels), device=labels.device)
        return self.inside[rows, labels] - self.outside[rows, labels]


class FCISHead(nn.Module):
    """[C4, C5 narrowed] -> `Predictions`; see `OneStageHead`. Nothing is learned behind the maps."""

    def __init__(
        self,
        channels: int,
        *,
        num_classes: int,
        rpn: RegionProposals,
        rule: DetectionRule,
        sampled: int = KEPT,
    ) -> None:
        super().__init__()
        self.rpn, self.rule, self.sampled = rpn, rule, sampled
        self.scores = nn.Conv2d(channels, GROUPS**2 * 2 * (1 + num_classes), 1)
        self.deltas = nn.Conv2d(channels, GROUPS**2 * 2 * 4, 1)
        for layer in (self.scores, self.deltas):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
        self.pooler = PositionSensitivePooler(stride=16, sampling=1)
        self.matcher = RoISampler(iou=0.5, batch=sampled)

    def forward(self, features: list[Tensor]) -> Predictions:
        shared, narrowed = features
        return Predictions(shared, self.scores(narrowed), self.deltas(narrowed))

    def pool(self, predictions: Predictions, boxes: list[Tensor]) -> Pooled:
        """What boxes [N,4] px per image see, all images' joined."""
        maps = torch.cat([x.unflatten(1, (GROUPS**2, -1)) for x in predictions[1:]], dim=2).flatten(1, 2)
        pooled = self.pooler(maps, boxes).float()
        inside, outside = pooled[:, :-8].chunk(2, dim=1)
        return Pooled(inside, outside, pooled[:, -4:].mean((2, 3)))

    def losses(self, predictions: Predictions, batch: Batch, targets: list[dict]) -> dict[str, Tensor]:
        """Of the proposals; loss_classifier, loss_mask and loss_box_reg of the boxes with the largest sum of the three.

        Candidates are all proposals and the ground truth, positive from an IoU of 0.5. The mask loss of a box is a mean
        over its pixels: of several outputs with `normalization` "null", MXNet's SoftmaxOutput divides by their number.
        """
        proposals, losses = self.rpn(batch, [predictions.shared], targets)
        boxes = [
            torch.cat([image_proposals, target["boxes"].to(image_proposals)])
            for image_proposals, target in zip(proposals, targets, strict=True)
        ]
        samples = self.matcher.label(boxes, targets).with_positive()
        pooled = self.pool(predictions, boxes)
        labels, rows, positives = torch.cat(samples.labels), samples.positive_rows(), samples.positives()
        of_class = F.cross_entropy(pooled.logits(), labels, reduction="none")
        shares = mask_targets(positives, targets, size=pooled.inside.shape[-1], aligned=True, binary=False)
        masks = Pooled(*(values[rows] for values in pooled)).masks(labels[rows])
        of_mask = mask_cross_entropy(masks, (shares >= TARGET).to(masks))
        truth = torch.cat([target["boxes"][match] for target, match in zip(targets, positives.matched, strict=True)])
        target_deltas = CODER.encode(truth.to(pooled.deltas), torch.cat(positives.boxes))
        of_box = F.smooth_l1_loss(pooled.deltas[rows], target_deltas, beta=BETA, reduction="none").sum(1)
        total = of_class.detach().index_add(0, rows, (MASK_WEIGHT * of_mask + of_box).detach())
        kept = self.hardest(total, [len(image_boxes) for image_boxes in boxes])
        count = kept.sum().clamp(min=1)
        return losses | {
            "loss_classifier": (of_class * kept).sum() / count,
            "loss_mask": MASK_WEIGHT * (of_mask * kept[rows]).sum() / count,
            "loss_box_reg": (of_box * kept[rows]).sum() / count,
        }

    def hardest(self, losses: Tensor, counts: list[int]) -> Tensor:
        """losses [R] of boxes -> bool [R]: the largest ones of each image."""
        kept = []
        for image_losses in losses.split(counts):
            best = image_losses.topk(min(self.sampled, len(image_losses))).indices
            kept.append(torch.zeros_like(image_losses, dtype=torch.bool).index_fill(0, best, True))
        return torch.cat(kept)

    @torch.no_grad()
    def detections(self, predictions: Predictions, batch: Batch) -> list[dict[str, Tensor]]:
        """Per image the detections that the proposals and the boxes regressed from them vote for."""
        with part(HEAD):
            proposals, _ = self.rpn(batch, [predictions.shared])
            first = self.pool(predictions, proposals)
            counts = [len(image_proposals) for image_proposals in proposals]
            moved = [
                clip_boxes_to_image(CODER.decode(deltas, boxes), size)
                for deltas, boxes, size in zip(first.deltas.split(counts), proposals, batch.image_sizes, strict=True)
            ]
            second = self.pool(predictions, moved)
        scores, masks = [], []
        for pooled in (first, second):
            scores.append(pooled.logits().softmax(1).split(counts))
            masks.append(pooled.masks(pooled.logits()[:, 1:].argmax(1) + 1).sigmoid().split(counts))
        results = []
        for index, size in enumerate(batch.original_sizes):
            boxes = scale_boxes(torch.cat([proposals[index], moved[index]]), *batch.to_original(index))
            pairs = (torch.cat([values[index] for values in both]) for both in (scores, masks))
            results.append(vote(boxes, *pairs, size=size, rule=self.rule))
        return results

    def dry_run(self, features: list[Tensor], *, detections: int) -> None:
        """Every learned layer once; detections cost nothing more."""
        self.rpn.head(features[:1])
        self(features)
