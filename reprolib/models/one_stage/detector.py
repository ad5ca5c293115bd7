"""One-stage detectors: transform, backbone, neck, and a head that goes from the pyramid to instances."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from reprolib.models.backbones import Backbone, build_backbone
from reprolib.models.contract import check_targets, evaluating
from reprolib.models.feature_pyramid import FeaturePyramid
from reprolib.models.input_transform import Batch, InputSize, input_transform
from reprolib.models.parts import BACKBONE, HEAD, INPUT, NECK, POST_PROCESSING, part
from reprolib.params import Scale


class OneStageHead(Protocol):
    """The interface of a head. `predictions` are the outputs of its learned layers for a whole batch, of any type."""

    def __call__(self, features: list[Tensor]) -> Any:
        """The pyramid's maps, each [B,C,h,w] -> predictions. All learned layers run here.

        In a detector that is `sized` the head also takes the sizes of the images.
        """

    def losses(self, predictions: Any, batch: Batch, targets: list[dict]) -> dict[str, Tensor]:
        """Scalar losses by name; targets as `InputTransform` returns them."""

    def detections(self, predictions: Any, batch: Batch) -> list[dict[str, Tensor]]:
        """Post-processing: per image the detections of the detector contract, at the size of the input image."""

    def dry_run(self, features: list[Tensor], *, detections: int) -> None:
        """Run every learned layer once, and compute the masks of this number of detections."""


class OneStage(nn.Module):
    """The detector contract, made of the parts that are passed in.

    Training: (images [3,H,W] in 0..1, targets) -> losses by name.
    Inference: images -> per image boxes [N,4] xyxy in pixels of the input image, labels [N] in 1..K, scores [N] best
    first, and masks bool [N,H,W].

    sized: the head is called with the images' (height, width) in the batch too, which padding makes larger.
    """

    def __init__(
        self, *, transform: nn.Module, backbone: nn.Module, neck: nn.Module, head: OneStageHead, sized: bool = False
    ) -> None:
        super().__init__()
        self.transform, self.backbone, self.neck, self.head, self.sized = transform, backbone, neck, head, sized

    def forward(self, images: list[Tensor], targets: list[dict] | None = None) -> dict[str, Tensor] | list[dict]:
        """Raises ValueError when targets are missing in training or do not match the images."""
        if self.training:
            check_targets(images, targets)
        with part(INPUT):
            batch, targets = self.transform(images, targets if self.training else None)
        features = self.pyramid(batch)
        with part(HEAD):
            predictions = self.head(features, batch.image_sizes) if self.sized else self.head(features)
        if targets is not None:
            return self.head.losses(predictions, batch, targets)
        with part(POST_PROCESSING):
            return self.head.detections(predictions, batch)

    def pyramid(self, batch: Batch) -> list[Tensor]:
        """The maps that the head reads."""
        with part(BACKBONE):
            maps = self.backbone(batch.tensors)
        with part(NECK):
            return self.neck(maps)

    def static_parts(self) -> tuple[nn.Module, ...]:
        """All learned modules, in order: each takes the output of the one before, the first a batch's tensors.

        The shapes in them depend only on the shape of the batch.
        """
        return self.backbone, self.neck, self.head

    @torch.no_grad()
    def dry_run(self, height: int, width: int, *, proposals: int = 0, detections: int) -> None:
        """Run every learned part once on an input [3,height,width], on the parameters' device.

        Works on the meta device; operations between the parts (NMS, resizing of masks) are left out. `proposals` has no
        effect, since one-stage detectors have none.
        """
        image = torch.zeros((1, 3, height, width), device=next(self.parameters()).device)
        sizes = [(height, width)]
        with evaluating(self):
            features = self.pyramid(Batch(tensors=image, image_sizes=sizes, original_sizes=sizes))
            self.head.dry_run(features, detections=detections)


def one_stage(
    head: OneStageHead,
    *,
    backbone: str | Backbone,
    scale: Scale,
    input_size: InputSize,
    neck: nn.Module | Callable[[list[int]], nn.Module] | None = None,
    transform: nn.Module | None = None,
    dialect: str = "mm",
    sized: bool = False,
) -> OneStage:
    """A detector with this head; by default with an FPN (P2..P6).

    backbone: timm's name, or a built module. neck: module [C2..C5] -> the maps that the head reads, or a function that
    makes one from the widths of C2..C5. transform: see `InputTransform`. sized: see `OneStage`.
    """
    if not isinstance(backbone, Backbone):
        backbone = build_backbone(backbone, scale=scale, dialect=dialect)
    if neck is None:
        neck = FeaturePyramid(backbone.channels, channels=scale.channels)
    elif not isinstance(neck, nn.Module):
        neck = neck(backbone.channels)
    return OneStage(
        transform=transform or input_transform(input_size, dialect=dialect),
        backbone=backbone,
        neck=neck,
        head=head,
        sized=sized,
    )
