"""Two-stage detectors: transform, backbone, neck, proposals, RoI heads."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from reprolib.models.backbones import Backbone, build_backbone
from reprolib.models.dialects import find_dialect
from reprolib.models.feature_pyramid import FeaturePyramid
from reprolib.models.input_transform import input_transform, scale_boxes
from reprolib.models.paste import paste_masks
from reprolib.models.region_proposals import region_proposals
from reprolib.params import Scale, Schedule


class TwoStage(nn.Module):
    """The detector contract over parts handed in.

    Training: (images [3,H,W] in 0..1, targets) -> losses by name.
    Inference: images -> per image boxes [N,4] xyxy px of the image given, labels [N] in 1..K, scores [N] and
    masks bool [N,H,W].
    """

    def __init__(
        self,
        *,
        transform: nn.Module,
        backbone: nn.Module,
        neck: nn.Module,
        rpn: nn.Module,
        roi_heads: nn.Module,
        exact_paste: bool = True,
    ) -> None:
        super().__init__()
        self.transform, self.backbone, self.neck = transform, backbone, neck
        self.rpn, self.roi_heads = rpn, roi_heads
        self.exact_paste = exact_paste

    def forward(self, images: list[Tensor], targets: list[dict] | None = None) -> dict[str, Tensor] | list[dict]:
        """Raises ValueError when targets are missing in training or do not match the images."""
        if self.training:
            check_targets(images, targets)
        batch, targets = self.transform(images, targets if self.training else None)
        features = self.neck(self.backbone(batch.tensors))
        proposals, losses = self.rpn(batch, features, targets)
        found, roi_losses = self.roi_heads(features, proposals, batch.image_sizes, targets)
        if targets is not None:
            return losses | roi_losses
        return [self._to_original(one, batch, index) for index, one in enumerate(found)]

    def _to_original(self, found: dict[str, Tensor], batch, index: int) -> dict[str, Tensor]:
        boxes = scale_boxes(found["boxes"], *batch.to_original(index))
        masks = paste_masks(found["masks"], boxes, batch.original_sizes[index], exact=self.exact_paste)
        return found | {"boxes": boxes, "masks": masks}

    @torch.no_grad()
    def dry_run(self, height: int, width: int, *, proposals: int, detections: int) -> None:
        """Run every learned part once on one [3,height,width] input, on the parameters' device.

        Works on the meta device; what is between the parts (NMS, RoIAlign, pasting) is left out.
        """
        training = self.training
        self.eval()
        image = torch.zeros((1, 3, height, width), device=next(self.parameters()).device)
        features = self.neck(self.backbone(image))
        self.rpn.head(features)
        self.roi_heads.dry_run(features, proposals=proposals, detections=detections)
        self.train(training)


def check_targets(images: list[Tensor], targets: list[dict] | None) -> None:
    """Raises ValueError naming the first target that training cannot use."""
    if targets is None or len(targets) != len(images):
        raise ValueError(f"training needs one target per image: {len(images)} images, {len(targets or [])} targets")
    for index, (image, target) in enumerate(zip(images, targets, strict=True)):
        name = f"target {index} (image_id {target.get('image_id', '?')})"
        absent = [key for key in ("boxes", "labels", "masks") if key not in target]
        if absent:
            raise ValueError(f"{name} has no {absent[0]!r}")
        count, size = len(target["boxes"]), tuple(image.shape[-2:])
        if len(target["labels"]) != count or tuple(target["masks"].shape) != (count, *size):
            raise ValueError(
                f"{name}: {count} boxes, {len(target['labels'])} labels and"
                f" masks {list(target['masks'].shape)} do not belong together;"
                f" masks must be [{count},{size[0]},{size[1]}]"
            )


def two_stage(
    *,
    backbone: str | Backbone,
    scale: Scale,
    schedule: Schedule,
    dialect: str,
    roi_heads: nn.Module,
    neck: nn.Module | Callable[[list[int]], nn.Module] | None = None,
    rpn: nn.Module | None = None,
    stride_in_1x1: bool = False,
) -> TwoStage:
    """A detector of these RoI heads, with a FPN and its region proposals unless others are given.

    backbone: timm's name, or one that is built. neck: module [C2..C5] -> pyramid, or a function that makes one
    from the widths of C2..C5. roi_heads, rpn: see `RoIHeads` and `RegionProposals`.
    """
    if not isinstance(backbone, Backbone):
        backbone = build_backbone(backbone, scale=scale, dialect=dialect, stride_in_1x1=stride_in_1x1)
    if neck is None:
        neck = FeaturePyramid(backbone.channels, channels=scale.channels)
    elif not isinstance(neck, nn.Module):
        neck = neck(backbone.channels)
    return TwoStage(
        transform=input_transform(schedule, dialect=dialect),
        backbone=backbone,
        neck=neck,
        rpn=rpn or region_proposals(scale, dialect=dialect),
        roi_heads=roi_heads,
        exact_paste=find_dialect(dialect).exact_paste,
    )
