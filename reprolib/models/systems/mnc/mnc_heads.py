"""The heads of multi-task network cascades (Dai, He and Sun, CVPR 2016), modernised: five stages on a pyramid.

Boxes are proposed (stage 1), each is segmented (2) and classified with its mask (3); the boxes that stage 3 regresses
are segmented (4) and classified (5) again by the same layers. Modernised: the pyramid's RoIAlign, without gradient to
the boxes, in place of a warping of one map, narrower layers, a detection's mask is its own: no mask voting.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reprolib.models.detections import DetectionRule, detect, detection_rule
from reprolib.models.dialects import find_dialect
from reprolib.models.on_device import rows_where
from reprolib.models.two_stage.box_head import BoxPredictor, two_layer_head
from reprolib.models.two_stage.box_stage import BoxStage
from reprolib.models.two_stage.mask_branch import attach_masks, mask_loss, mask_targets
from reprolib.models.two_stage.mask_iou_head import mask_iou_targets
from reprolib.models.two_stage.mask_scoring_branch import visible_shares
from reprolib.models.two_stage.roi_pooler import roi_pooler
from reprolib.models.two_stage.samples import RoISampler, Samples
from reprolib.params import Scale

RESOLUTION, SIDE = 14, 21  # of the RoI features, of the masks
CASCADES = 2  # stages 2 and 3, then 4 and 5
MASK_WEIGHT = 2.0
BINARY = 0.4  # least probability of a pixel inside the mask
MASK_IOU = 0.5  # a predicted mask is a positive of its instance's class at this IoU or more
PROPOSALS, NMS = 300, 0.3  # of an image, best first; NMS in inference
SAMPLED, POSITIVE = 128, 0.3  # boxes of an image that train, and the share of positive ones


class MaskLayers(nn.Module):
    """RoI features [R,C,14,14] -> mask logits [R,21,21], one mask for all classes: two fully connected layers."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(channels * RESOLUTION**2, channels)
        self.predictor = nn.Linear(channels, SIDE**2)
        nn.init.kaiming_uniform_(self.hidden.weight, a=1)
        nn.init.normal_(self.predictor.weight, std=0.01)
        for layer in (self.hidden, self.predictor):
            nn.init.zeros_(layer.bias)

    def forward(self, roi_features: Tensor) -> Tensor:
        return self.predictor(self.hidden(roi_features.flatten(1)).relu_()).float().unflatten(1, (SIDE, SIDE))


class RunOutputs(NamedTuple):
    """What one run of the layers gives for R boxes."""

    masks: Tensor  # [R,21,21] logits
    box_logits: Tensor  # [R,1+K], classes by the boxes' overlap
    mask_logits: Tensor  # [R,1+K], classes by the masks' overlap
    deltas: Tensor  # [R,1+K,4]


class Truth(NamedTuple):
    """What the masks of R boxes learn, P of them positive by their boxes' overlap."""

    masks: Tensor  # [P,21,21] of 0 and 1
    labels: Tensor  # [R] in 0..K, classes by the masks' overlap as they are


class NetworkCascadeHeads(nn.Module):
    """Masks, classes by box and by mask, and boxes, twice by the same layers.

    pooler: (P2.., boxes per image) -> [R,C,14,14]. mask_layers: [R,C,14,14] -> logits [R,21,21]. box_stage: its head
    reads the features [R,C,7,7], its predictor both paths' vectors. mask_path: masked features [R,C,7,7] -> vectors.
    mask_classifier: both paths' vectors -> logits [R,1+K]. aligned: see `cut_masks`.
    """

    def __init__(
        self,
        *,
        sampler: RoISampler,
        pooler: nn.Module,
        mask_layers: nn.Module,
        box_stage: BoxStage,
        mask_path: nn.Module,
        mask_classifier: nn.Module,
        rule: DetectionRule,
        aligned: bool,
    ) -> None:
        super().__init__()
        self.sampler, self.rule = sampler, rule
        self.pooler, self.mask_layers, self.box_stage = pooler, mask_layers, box_stage
        self.mask_path, self.mask_classifier = mask_path, mask_classifier
        self.aligned = aligned

    def forward(
        self,
        features: list[Tensor],
        proposals: list[Tensor],
        image_sizes: list[tuple[int, int]],
        targets: list[dict],
    ) -> dict[str, Tensor]:
        """The losses, named by cascade, 1 and 2.

        The second one's boxes are those of the first regressed as their best class by mask, the background aside, and
        the ground truth's.
        """
        losses: dict[str, Tensor] = {}
        samples = self.sampler([image_proposals[:PROPOSALS] for image_proposals in proposals], targets)
        for number in range(1, CASCADES + 1):
            roi_features = self.pooler(features, samples.boxes)
            masks = self.mask_layers(roi_features)
            truth = self.truth(masks, samples, targets)
            outputs = self.classified(roi_features, masks, learns=truth.labels > 0)
            losses |= {f"{name}_{number}": loss for name, loss in self.losses(outputs, samples, targets, truth).items()}
            if number < CASCADES:
                best = outputs.mask_logits[:, 1:].argmax(1) + 1
                boxes = self.regressed(samples.boxes, outputs.deltas, best, image_sizes)
                sides = rows_where([(image_boxes[:, 2:] > image_boxes[:, :2]).all(1) for image_boxes in boxes])
                boxes = [
                    torch.cat([image_boxes[rows], target["boxes"].to(image_boxes)])
                    for image_boxes, rows, target in zip(boxes, sides, targets, strict=True)
                ]
                samples = self.sampler.label(boxes, targets).with_positive()
        return losses

    def run(self, roi_features: Tensor) -> RunOutputs:
        """RoI features [R,C,14,14] -> what the layers find, in inference."""
        masks = self.mask_layers(roi_features)
        return self.classified(roi_features, masks, learns=torch.zeros_like(masks[:, 0, 0], dtype=torch.bool))

    def classified(self, roi_features: Tensor, masks: Tensor, *, learns: Tensor) -> RunOutputs:
        """RoI features [R,C,14,14] and their mask logits -> what the layers find.

        learns: bool [R], whether a mask learns by the classes too, through the masked features.
        """
        shown = masks.sigmoid()
        shown = torch.where(learns[:, None, None], shown, shown.detach())
        size = roi_features.shape[-2:]
        masked = roi_features * F.interpolate(shown[:, None], size=size, mode="bilinear", align_corners=False)
        vectors = [
            path(F.max_pool2d(part, 2))
            for path, part in ((self.box_stage.head, roi_features), (self.mask_path, masked))
        ]
        vectors = torch.cat(vectors, dim=1)
        box_logits, deltas = self.box_stage.predict(vectors)
        return RunOutputs(masks, box_logits, self.mask_classifier(vectors).float(), deltas)

    @torch.no_grad()
    def truth(self, masks: Tensor, samples: Samples, targets: list[dict]) -> Truth:
        """What the masks [R,21,21] (logits) of the samples' boxes should be, and what they are of as they are."""
        positives, rows = samples.positives(), samples.positive_rows()
        shares = mask_targets(positives, targets, size=SIDE, aligned=self.aligned, binary=False)
        labels = torch.cat(samples.labels)
        iou = mask_iou_targets(masks[rows].sigmoid() >= BINARY, shares, visible_shares(positives, targets))
        by_mask = torch.zeros_like(labels).index_copy(0, rows, labels[rows] * (iou >= MASK_IOU))
        return Truth((shares >= BINARY).to(shares), by_mask)

    def losses(self, outputs: RunOutputs, samples: Samples, targets: list[dict], truth: Truth) -> dict[str, Tensor]:
        """loss_classifier and loss_box_reg by the boxes, loss_mask (twice), loss_mask_classifier by the masks."""
        positives, masks = samples.positives(), outputs.masks[samples.positive_rows()]
        losses = self.box_stage.losses(outputs.box_logits, outputs.deltas, samples, targets)
        loss = mask_loss(masks[:, None], positives, truth.masks, background_channels=False)
        losses["loss_mask"] = MASK_WEIGHT * loss
        losses["loss_mask_classifier"] = (
            F.cross_entropy(outputs.mask_logits, truth.labels) if len(truth.labels) else outputs.mask_logits.sum() * 0
        )
        return losses

    def regressed(
        self, boxes: list[Tensor], deltas: Tensor, labels: Tensor, image_sizes: list[tuple[int, int]]
    ) -> list[Tensor]:
        """Boxes [N,4] per image moved by their deltas [R,1+K,4] of the classes [R]; background stays."""
        counts = [len(image_boxes) for image_boxes in boxes]
        return self.box_stage.refine(boxes, deltas, image_sizes, list(labels.split(counts)))

    def prepare(
        self, features: list[Tensor], image_sizes: list[tuple[int, int]], targets: list[dict] | None
    ) -> tuple[None, dict[str, Tensor]]:
        """What all boxes share beside the pyramid, and its losses: nothing."""
        return None, {}

    def box_inference(
        self, features: list[Tensor], context: None, proposals: list[Tensor], image_sizes: list[tuple[int, int]]
    ) -> list[dict[str, Tensor]]:
        """Detections without masks: of the best proposals and of what they are regressed to, by the masks' classes."""
        proposals = [image_proposals[:PROPOSALS] for image_proposals in proposals]
        first = self.run(self.pooler(features, proposals))
        moved = self.regressed(proposals, first.deltas, first.mask_logits.argmax(1), image_sizes)
        second = self.run(self.pooler(features, moved))
        counts = [len(image_proposals) for image_proposals in proposals]
        scores = zip(*(outputs.mask_logits.softmax(-1).split(counts) for outputs in (first, second)), strict=True)
        return [
            self._detect(torch.cat(pair), torch.cat(boxes), size)
            for pair, *boxes, size in zip(scores, proposals, moved, image_sizes, strict=True)
        ]

    def _detect(self, scores: Tensor, boxes: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
        return detect(scores, lambda rows, labels: boxes[rows], size, self.rule)

    def class_scores(self, features: list[Tensor], context: None, boxes: list[Tensor]) -> Tensor:
        """By mask, of boxes [N,4] per image as they are: [sum of N,1+K], background first."""
        return self.run(self.pooler(features, boxes)).mask_logits.softmax(-1)

    def mask_inference(
        self, features: list[Tensor], context: None, detections: list[dict[str, Tensor]]
    ) -> list[dict[str, Tensor]]:
        """The detections with `masks` [N,21,21]: probabilities, scaled so that what is pasted at 0.5 reaches 0.4."""
        if not sum(len(image["boxes"]) for image in detections):
            return attach_masks(detections, features[0].new_zeros((0, 1, 1)))
        masks = self.mask_layers(self.pooler(features, [image["boxes"] for image in detections])).sigmoid()
        return attach_masks(detections, masks * (0.5 / BINARY))

    def dry_run(self, features: list[Tensor], *, proposals: int, detections: int) -> None:
        """Run the learned parts on placeholder RoI features, once a cascade."""
        for _ in range(CASCADES):
            self.run(self.pooler.placeholder(features, min(proposals, PROPOSALS)))
        self.mask_layers(self.pooler.placeholder(features, detections))


def network_cascade_heads(*, num_classes: int, scale: Scale, dialect: str) -> NetworkCascadeHeads:
    """The heads for `num_classes` foreground classes."""
    bundle = find_dialect(dialect)
    classifier = nn.Linear(2 * scale.box_hidden, 1 + num_classes)
    nn.init.normal_(classifier.weight, std=0.01)
    nn.init.zeros_(classifier.bias)
    path = {"resolution": RESOLUTION // 2, "hidden": scale.box_hidden}
    return NetworkCascadeHeads(
        sampler=RoISampler(iou=0.5, batch=min(SAMPLED, scale.roi_batch), positive=POSITIVE),
        pooler=roi_pooler(RESOLUTION, dialect=dialect),
        mask_layers=MaskLayers(scale.channels),
        box_stage=BoxStage(
            head=two_layer_head(scale.channels, **path),
            predictor=BoxPredictor(2 * scale.box_hidden, num_classes=num_classes, background_channels=True),
            beta=bundle.box_beta,
            background_channels=True,
        ),
        mask_path=two_layer_head(scale.channels, **path),
        mask_classifier=classifier,
        rule=dataclasses.replace(detection_rule(scale), nms_threshold=NMS),
        aligned=bundle.roi_aligned,
    )
