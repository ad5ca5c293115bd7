"""CenterMask's head (Lee, Park, CVPR 2020): boxes by FCOS, masks from RoI features of these boxes."""

from __future__ import annotations

import torch
from torch import Tensor

from reprolib.models.detections import DetectionRule
from reprolib.models.input_transform import Batch, scale_boxes
from reprolib.models.one_stage.fcos_head import FCOSHead, FCOSPredictions
from reprolib.models.one_stage.fcos_targets import find_positives
from reprolib.models.parts import HEAD, part
from reprolib.models.systems.centermask.area_ratio_pooler import SizedMaps
from reprolib.models.two_stage.mask_branch import MaskBranch
from reprolib.models.two_stage.paste import paste_masks
from reprolib.models.two_stage.samples import RoISampler, Samples


class CenterMaskHead(FCOSHead):
    """[P3..P7] -> instances, see `OneStageHead`; its mask branch runs on the boxes that FCOS selects.

    mask_branch: reads `SizedMaps`. In training it learns from the detections that overlap an instance by half, and
    from the instances' own boxes. Other parameters: see `FCOSHead`.
    """

    def __init__(
        self, channels: int, *, num_classes: int, per_level: int, rule: DetectionRule, mask_branch: MaskBranch
    ) -> None:
        super().__init__(per_level=per_level, rule=rule)
        self.mask_branch = mask_branch
        self.add_layers(channels, num_classes=num_classes)
        self.sampler = RoISampler(iou=0.5, batch=0)  # labels all boxes, draws none

    def losses(self, predictions: FCOSPredictions, batch: Batch, targets: list[dict]) -> dict[str, Tensor]:
        """loss_class, loss_box and loss_centreness of the locations, and the mask branch's of the boxes."""
        positives = [find_positives(predictions.locations, target) for target in targets]
        losses = self.location_losses(predictions, positives)
        proposals = [selected.boxes for selected in self.selected(predictions, batch)]
        with part(HEAD):
            samples = self.samples(proposals, targets)
            maps = SizedMaps(predictions.features, batch.image_sizes)
            return losses | self.mask_branch.losses(maps, samples, targets)

    @torch.no_grad()
    def samples(self, proposals: list[Tensor], targets: list[dict]) -> Samples:
        """Of each image's proposals [N,4] and instances those that the mask branch learns from."""
        boxes = [torch.cat([image, target["boxes"]]) for image, target in zip(proposals, targets, strict=True)]
        return self.sampler.label(boxes, targets).positives()

    def detections(self, predictions: FCOSPredictions, batch: Batch) -> list[dict[str, Tensor]]:
        """Boxes [N,4] px, labels [N], scores [N], masks bool [N,H,W], mask_scores where they are learnt."""
        results = [
            {"boxes": selected.boxes, "labels": selected.labels, "scores": selected.scores}
            for selected in self.selected(predictions, batch)
        ]
        with part(HEAD):
            results = self.mask_branch.inference(SizedMaps(predictions.features, batch.image_sizes), results)
        for index, (result, original_size) in enumerate(zip(results, batch.original_sizes, strict=True)):
            result["boxes"] = scale_boxes(result["boxes"], *batch.to_original(index))
            result["masks"] = paste_masks(result["masks"], result["boxes"], original_size)
        return results

    def dry_run(self, features: list[Tensor], *, detections: int) -> None:
        """Every learned layer once, the mask branch's for so many detections."""
        maps = self(features).features
        self.mask_branch.dry_run(SizedMaps(maps, [(1, 1)] * len(maps[0])), detections=detections)
