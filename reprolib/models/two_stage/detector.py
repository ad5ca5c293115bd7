"""Two-stage detectors: transform, backbone, neck, proposals, RoI heads."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from reprolib.models.backbones import Backbone, build_backbone
from reprolib.models.contract import check_targets, evaluating
from reprolib.models.dialects import find_dialect
from reprolib.models.feature_pyramid import FeaturePyramid
from reprolib.models.input_transform import Batch, InputSize, input_transform, scale_boxes
from reprolib.models.parts import BACKBONE, HEAD, INPUT, NECK, part
from reprolib.models.two_stage.paste import paste_masks
from reprolib.models.two_stage.prompts import Encoded, check_boxes, label_boxes
from reprolib.models.two_stage.region_proposals import region_proposals
from reprolib.params import Scale


class TwoStage(nn.Module):
    """The detector contract, made of the parts that are passed in.

    Training: (images [3,H,W] in 0..1, targets) -> losses by name.
    Inference: images -> per image boxes [N,4] xyxy in pixels of the input image, labels [N] in 1..K, scores [N] and
    masks bool [N,H,W].
    Prompted: `encode` an image once, then `segment` boxes that a user draws in it, any number of times.
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
        with part(INPUT):
            batch, targets = self.transform(images, targets if self.training else None)
        features = self.pyramid(batch)
        with part(HEAD):  # NMS and pasting inside of it are counted as post-processing
            proposals, losses = self.rpn(batch, features, targets)
            if targets is not None:
                return losses | self.roi_heads(features, proposals, batch.image_sizes, targets)
            encoded = self._prepared(batch, features)
            in_batch = self.roi_heads.box_inference(features, encoded.context, proposals, batch.image_sizes)
            detections = [
                image_detections | {"boxes": scale_boxes(image_detections["boxes"], *batch.to_original(index))}
                for index, image_detections in enumerate(in_batch)
            ]
            return self._with_masks(encoded, detections)

    def pyramid(self, batch: Batch) -> list[Tensor]:
        """The maps P2.. that proposals and RoI heads read; a subclass may add features of the images to them."""
        with part(BACKBONE):
            maps = self.backbone(batch.tensors)
        with part(NECK):
            return self.neck(maps)

    def static_parts(self) -> tuple[nn.Module, ...]:
        """The learned modules before the RoI heads, in order: each takes the output of the one before.

        The first takes a batch's tensors. The shapes in them depend only on the shape of the batch.
        """
        return self.backbone, self.neck, self.rpn.head

    @torch.no_grad()
    def encode(self, image: Tensor) -> Encoded:
        """image [3,H,W] in 0..1 -> what `segment` needs of it, in evaluation mode; the model's mode is restored."""
        with evaluating(self):
            batch, _ = self.transform([image.to(self._device())])
            return self._prepared(batch, self.pyramid(batch))

    @torch.no_grad()
    def segment(self, image: Tensor | Encoded, boxes: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Masks of the instances in these boxes.

        image: [3,H,W] in 0..1, or the output of `encode`. boxes: [N,4] xyxy in pixels of the input image. labels: [N]
        in 1..K; without them the box heads classify every box (in a cascade all stages classify the same box).
        Returns the same boxes [N,4], labels [N], scores [N] of these labels and masks bool [N,H,W], and `mask_scores`
        in systems that score masks. Boxes are neither refined nor dropped. For the box and the label of a detection the
        mask equals that of the detection.
        Raises ValueError for invalid boxes or labels, see `check_boxes` and `label_boxes`.
        """
        size = image.size if isinstance(image, Encoded) else tuple(image.shape[-2:])
        boxes = check_boxes(boxes, size, device=self._device())
        encoded = image if isinstance(image, Encoded) else self.encode(image)
        with evaluating(self):
            batch_boxes = self._to_batch(encoded, 0, boxes)
            scores = self.roi_heads.class_scores(encoded.features, encoded.context, [batch_boxes])
            labels, scores = label_boxes(scores, labels)
            return self._with_masks(encoded, [{"boxes": boxes, "labels": labels, "scores": scores}])[0]

    def _prepared(self, batch: Batch, features: list[Tensor]) -> Encoded:
        context, _ = self.roi_heads.prepare(features, batch.image_sizes, None)
        return Encoded(batch=batch, features=features, context=context)

    def _with_masks(self, encoded: Encoded, detections: list[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
        """Detections with boxes [N,4] in pixels of the input images -> the same with masks bool [N,H,W].

        Detected boxes and those of a user are mapped to the batch in the same way, so that equal boxes give equal
        masks, without a difference by rounding.
        """
        in_batch = [
            image_detections | {"boxes": self._to_batch(encoded, index, image_detections["boxes"])}
            for index, image_detections in enumerate(detections)
        ]
        masked = self.roi_heads.mask_inference(encoded.features, encoded.context, in_batch)
        results = []
        for result, image_detections, size in zip(masked, detections, encoded.batch.original_sizes, strict=True):
            boxes = image_detections["boxes"]
            masks = paste_masks(result["masks"], boxes, size, exact=self.exact_paste)
            results.append(result | {"boxes": boxes, "masks": masks})
        return results

    @staticmethod
    def _to_batch(encoded: Encoded, index: int, boxes: Tensor) -> Tensor:
        x, y = encoded.batch.to_original(index)
        return scale_boxes(boxes, 1 / x, 1 / y)

    def _device(self) -> torch.device:
        return next(self.parameters()).device

    @torch.no_grad()
    def dry_run(self, height: int, width: int, *, proposals: int, detections: int) -> None:
        """Run every learned part once on an input [3,height,width], on the parameters' device.

        Works on the meta device; operations between the parts (NMS, RoIAlign, pasting) are left out.
        """
        image = torch.zeros((1, 3, height, width), device=self._device())
        sizes = [(height, width)]
        with evaluating(self):
            features = self.pyramid(Batch(tensors=image, image_sizes=sizes, original_sizes=sizes))
            self.rpn.head(features)
            self.roi_heads.dry_run(features, proposals=proposals, detections=detections)


def two_stage(
    roi_heads: nn.Module,
    *,
    backbone: str | Backbone,
    scale: Scale,
    input_size: InputSize,
    dialect: str,
    neck: nn.Module | Callable[[list[int]], nn.Module] | None = None,
    rpn: nn.Module | None = None,
    transform: nn.Module | None = None,
    stride_in_1x1: bool = False,
    kind: type[TwoStage] = TwoStage,
) -> TwoStage:
    """A detector with these RoI heads; by default with an FPN and its region proposals.

    backbone: timm's name, or a built module. neck: module [C2..C5] -> pyramid, or a function that makes one from the
    widths of C2..C5. roi_heads, rpn, transform: see `RoIHeads`, `RegionProposals`, `InputTransform`.
    """
    if not isinstance(backbone, Backbone):
        backbone = build_backbone(backbone, scale=scale, dialect=dialect, stride_in_1x1=stride_in_1x1)
    if neck is None:
        neck = FeaturePyramid(backbone.channels, channels=scale.channels)
    elif not isinstance(neck, nn.Module):
        neck = neck(backbone.channels)
    return kind(
        transform=transform or input_transform(input_size, dialect=dialect),
        backbone=backbone,
        neck=neck,
        rpn=rpn or region_proposals(scale, dialect=dialect),
        roi_heads=roi_heads,
        exact_paste=find_dialect(dialect).exact_paste,
    )
