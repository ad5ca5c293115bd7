"""RoI heads: sample proposals, classify and refine boxes, predict masks. The parts are objects handed in."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler, BoxCoder, Matcher
from torchvision.ops import batched_nms, box_iou, clip_boxes_to_image, remove_small_boxes

from reprolib.models.box_head import of_class
from reprolib.models.input_transform import conv_layout, scale_boxes
from reprolib.models.mask_targets import cut_masks
from reprolib.models.roi_pooler import RoIPooler


class Samples(NamedTuple):
    """Sampled training boxes, one entry per image."""

    boxes: list[Tensor]  # [S,4] xyxy in batch pixels
    labels: list[Tensor]  # [S], 0 = background, else 1..K
    matched: list[Tensor]  # [S] index of the ground-truth instance (0 where there is none)

    def positives(self) -> Samples:
        """Only the boxes that are not background."""
        return Samples(
            *(
                [part[keep] for part, keep in zip(parts, [label > 0 for label in self.labels], strict=True)]
                for parts in self
            )
        )


class RoIHeads(nn.Module):
    """Box and mask heads of Mask R-CNN.

    box_pooler, mask_pooler: (P2.., boxes per image) -> [R,C,m,m]. box_head: [R,C,m,m] -> [R,hidden].
    box_predictor: [R,hidden] -> class logits [R,1+K], deltas [R,K,4].
    mask_head: [R,C,m,m] -> mask logits [R,K,o,o]; the targets follow its o.
    With background_channels deltas and masks have 1+K channels. channels: the pyramid's width C.
    box_beta: Smooth L1 beta, 0 = L1. aligned, binary_targets: see `cut_masks`.
    """

    def __init__(
        self,
        *,
        box_pooler: RoIPooler,
        box_head: nn.Module,
        box_predictor: nn.Module,
        mask_pooler: RoIPooler,
        mask_head: nn.Module,
        channels: int,
        roi_batch: int,
        detections: int,
        score_threshold: float,
        box_beta: float,
        background_channels: bool,
        aligned: bool,
        binary_targets: bool,
        nms_threshold: float = 0.5,
    ) -> None:
        super().__init__()
        self.box_pooler, self.box_head, self.box_predictor = box_pooler, box_head, box_predictor
        self.mask_pooler, self.mask_head = mask_pooler, mask_head
        self.channels = channels
        self.detections, self.score_threshold, self.nms_threshold = detections, score_threshold, nms_threshold
        self.box_beta, self.background_channels = box_beta, background_channels
        self.aligned, self.binary_targets = aligned, binary_targets
        self.matcher = Matcher(0.5, 0.5, allow_low_quality_matches=False)
        self.sampler = BalancedPositiveNegativeSampler(roi_batch, 0.25)
        self.box_coder = BoxCoder((10.0, 10.0, 5.0, 5.0))

    def forward(
        self,
        features: list[Tensor],
        proposals: list[Tensor],
        image_sizes: list[tuple[int, int]],
        targets: list[dict] | None = None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """Returns (detections, losses): detections without targets, losses with them.

        A detection has boxes [N,4] in batch pixels, labels [N], scores [N] and probabilities `masks` [N,o,o].
        """
        if targets is None:
            found = self.box_inference(features, proposals, image_sizes)
            return self.mask_inference(features, found), {}
        samples = self.sample(proposals, targets)
        logits, deltas = self.predict_boxes(features, samples.boxes)
        losses = self.box_losses(logits, deltas, samples, targets)
        return [], losses | {"loss_mask": self.mask_loss(features, samples.positives(), targets)}

    @torch.no_grad()
    def sample(self, proposals: list[Tensor], targets: list[dict]) -> Samples:
        """Add the ground truth to the proposals, match at IoU 0.5, draw the batch with a quarter positive."""
        boxes = [torch.cat([p, t["boxes"].to(p)]) for p, t in zip(proposals, targets, strict=True)]
        matched, labels = [], []
        for candidates, target in zip(boxes, targets, strict=True):
            if len(target["boxes"]):
                match = self.matcher(box_iou(target["boxes"].to(candidates), candidates))
                matched.append(match.clamp(min=0))
                labels.append(target["labels"][matched[-1]].masked_fill(match < 0, 0))
            else:
                matched.append(torch.zeros(len(candidates), dtype=torch.long, device=candidates.device))
                labels.append(torch.zeros_like(matched[-1]))
        chosen = [torch.where(p | n)[0] for p, n in zip(*self.sampler(labels), strict=True)]
        return Samples(
            *([part[keep] for part, keep in zip(parts, chosen, strict=True)] for parts in (boxes, labels, matched))
        )

    def predict_boxes(self, features: list[Tensor], boxes: list[Tensor]) -> tuple[Tensor, Tensor]:
        """-> class logits [R,1+K], deltas [R,K or 1+K,4] of all images' boxes."""
        logits, deltas = self.box_predictor(self.box_head(self.box_pooler(features, boxes)))
        return logits.float(), deltas.float()

    def box_losses(self, logits: Tensor, deltas: Tensor, samples: Samples, targets: list[dict]) -> dict[str, Tensor]:
        """loss_classifier and loss_box_reg, both averaged over all sampled boxes."""
        labels, boxes = torch.cat(samples.labels), torch.cat(samples.boxes)
        if not len(labels):
            return {"loss_classifier": logits.sum() * 0, "loss_box_reg": deltas.sum() * 0}
        positives = samples.positives()
        wanted = torch.cat([target["boxes"][match] for target, match in zip(targets, positives.matched, strict=True)])
        wanted = self.box_coder.encode_single(wanted.to(boxes), torch.cat(positives.boxes))
        rows = labels > 0
        deltas = of_class(deltas[rows], labels[rows], background_channels=self.background_channels)
        box_loss = F.smooth_l1_loss(deltas, wanted, beta=self.box_beta, reduction="sum") / len(labels)
        return {"loss_classifier": F.cross_entropy(logits, labels), "loss_box_reg": box_loss}

    def mask_loss(self, features: list[Tensor], positives: Samples, targets: list[dict]) -> Tensor:
        """Mean binary cross-entropy of each positive box's mask of its class."""
        logits = self.predict_masks(features, positives.boxes)
        if not len(logits):
            return logits.sum() * 0
        wanted = self.mask_targets(positives, targets, size=logits.shape[-1])
        labels = torch.cat(positives.labels)
        logits = of_class(logits, labels, background_channels=self.background_channels)
        return F.binary_cross_entropy_with_logits(logits, wanted)

    def predict_masks(self, features: list[Tensor], boxes: list[Tensor]) -> Tensor:
        """-> mask logits [R,K or 1+K,o,o] of all images' boxes."""
        return self.mask_head(conv_layout(self.mask_pooler(features, boxes))).float()

    def mask_targets(self, positives: Samples, targets: list[dict], *, size: int) -> Tensor:
        """What each positive box sees of its instance: [R,size,size]."""
        cut = []
        for boxes, matched, target in zip(positives.boxes, positives.matched, targets, strict=True):
            boxes = scale_boxes(boxes, *target["to_original"])
            cut.append(
                cut_masks(
                    target["masks"],
                    boxes,
                    matched,
                    size=size,
                    aligned=self.aligned,
                    binary=self.binary_targets,
                )
            )
        return torch.cat(cut)

    def box_inference(
        self, features: list[Tensor], proposals: list[Tensor], image_sizes: list[tuple[int, int]]
    ) -> list[dict[str, Tensor]]:
        """Detections without masks: score threshold, NMS per class, the best `detections` per image."""
        logits, deltas = self.predict_boxes(features, proposals)
        counts = [len(boxes) for boxes in proposals]
        parts = zip(logits.softmax(-1).split(counts), deltas.split(counts), proposals, image_sizes, strict=True)
        return [self._detect(*part) for part in parts]

    def _detect(self, scores: Tensor, deltas: Tensor, proposals: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
        row, label = torch.where(scores[:, 1:] > self.score_threshold)
        label, score = label + 1, scores[row, label + 1]
        deltas = of_class(deltas[row], label, background_channels=self.background_channels)
        boxes = clip_boxes_to_image(self.box_coder.decode_single(deltas, proposals[row]), size)
        keep = remove_small_boxes(boxes, 1e-2)
        boxes, score, label = boxes[keep], score[keep], label[keep]
        keep = batched_nms(boxes, score, label, self.nms_threshold)[: self.detections]
        return {"boxes": boxes[keep], "labels": label[keep], "scores": score[keep]}

    def mask_inference(self, features: list[Tensor], found: list[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
        """The detections with `masks` [N,o,o], probabilities of each detection's class."""
        boxes, labels = [one["boxes"] for one in found], torch.cat([one["labels"] for one in found])
        if len(labels):
            logits = self.predict_masks(features, boxes)
            masks = of_class(logits, labels, background_channels=self.background_channels).sigmoid()
        else:
            masks = features[0].new_zeros((0, 1, 1))
        parts = masks.split([len(one) for one in boxes])
        return [one | {"masks": part} for one, part in zip(found, parts, strict=True)]

    def dry_run(self, features: list[Tensor], *, proposals: int, detections: int) -> None:
        """Run the learned parts on placeholder RoI features."""
        for count, pooler, head in (
            (proposals, self.box_pooler, nn.Sequential(self.box_head, self.box_predictor)),
            (detections, self.mask_pooler, self.mask_head),
        ):
            head(features[0].new_zeros((count, self.channels, pooler.resolution, pooler.resolution)))
