"""Context squeeze-and-excitation RoI extractors of FL-CSE-RoIE and C-SE Mask R-CNN (Zhang and Zhang, 2022).

Their publications could not be read; what is assumed is said in `card.toml`. Specification:
systems_two_stage.md, sections 13 and 14.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from timm.layers import SEModule
from torch import Tensor, nn
from torchvision.ops import clip_boxes_to_image

from reprolib.models.dialects import find_dialect
from reprolib.models.switch_checks import check_choice
from reprolib.models.two_stage.roi_pooler import AllLevelPooler, RoIPooler, to_rois

CONTEXT_SCALES = (1.0, 1.5, 2.0)
RATIO = 16  # of the squeezed vector
LEVEL_FUSIONS = ("own", "sum", "concat_1x1")


class ContextRoIExtractor(nn.Module):
    """A pooler: P2.. and boxes -> [R,C,m,m], of each box and of larger boxes about its centre.

    The scopes are concatenated, weighed by channel (squeeze and excitation) and reduced by a 1x1 convolution.
    pooler: (P2.., scaled boxes per image, the boxes themselves) -> [R,C,m,m]. scales: of the boxes' sides; larger
    boxes end where the batch's padded images do. ratio: squeezed channels are those of all scopes over it.
    """

    def __init__(
        self, *, pooler: nn.Module, channels: int, scales: Sequence[float] = CONTEXT_SCALES, ratio: int = RATIO
    ) -> None:
        super().__init__()
        if not scales or min(scales) <= 0:
            raise ValueError(f"context_scales must be one number above 0 or several, not {tuple(scales)}")
        self.pooler, self.scales = pooler, tuple(scales)
        width = len(self.scales) * channels
        self.excite = SEModule(width, rd_channels=max(1, width // ratio))
        self.reduce = nn.Conv2d(width, channels, 1)
        nn.init.kaiming_uniform_(self.reduce.weight, a=1)
        nn.init.zeros_(self.reduce.bias)

    def forward(self, features: list[Tensor], boxes: list[Tensor]) -> Tensor:
        """boxes: [N,4] xyxy per image in batch pixels -> [sum of N,C,m,m], in order."""
        size = tuple(side * self.pooler.strides[0] for side in features[0].shape[-2:])
        scopes = [[scale_about_centre(image_boxes, scale, size) for image_boxes in boxes] for scale in self.scales]
        return self.aggregate([self.pooler(features, scope, boxes) for scope in scopes])

    def aggregate(self, scopes: list[Tensor]) -> Tensor:
        """Every scope [R,C,m,m] -> [R,C,m,m]."""
        return self.reduce(self.excite(torch.cat(scopes, dim=1)))

    def placeholder(self, features: list[Tensor], count: int) -> Tensor:
        """What `count` boxes give, from zeros in place of RoIAlign's output; for counting FLOPs."""
        return self.aggregate([self.pooler.placeholder(features, count) for _ in self.scales])


class OwnLevelPooler(RoIPooler):
    """Reads every scaled box from the one level that fits the box itself."""

    def forward(self, features: list[Tensor], scaled: list[Tensor], boxes: list[Tensor]) -> Tensor:
        """scaled, boxes: [N,4] xyxy per image in batch pixels -> [sum of N,C,m,m], in order."""
        rois, levels = to_rois(scaled), self.levels(torch.cat(boxes))
        if not len(rois):
            return self._align(features[0], rois, self.strides[0])
        rows = [torch.where(levels == level)[0] for level in range(len(self.strides))]
        read = zip(features, rows, self.strides, strict=False)
        parts = [self._align(feature, rois[some], stride) for feature, some, stride in read if len(some)]
        return torch.cat(parts)[torch.cat(rows).argsort()]


class FusedLevelsPooler(AllLevelPooler):
    """Reads every scaled box from all levels, and sums them; or, with `channels`, a 1x1 convolution joins them."""

    def __init__(self, *, channels: int | None = None, **pooler) -> None:
        super().__init__(**pooler)
        self.join = None
        if channels is not None:
            self.join = nn.Conv2d(len(self.strides) * channels, channels, 1)
            nn.init.kaiming_uniform_(self.join.weight, a=1)
            nn.init.zeros_(self.join.bias)

    def forward(self, features: list[Tensor], scaled: list[Tensor], boxes: list[Tensor]) -> Tensor:
        """scaled: [N,4] xyxy per image in batch pixels -> [sum of N,C,m,m], in order. boxes: not looked at."""
        return self.fuse(super().forward(features, scaled))

    def fuse(self, levels: Tensor) -> Tensor:
        """levels [R,L,C,m,m] -> [R,C,m,m]."""
        return levels.sum(1) if self.join is None else self.join(levels.flatten(1, 2))

    def placeholder(self, features: list[Tensor], count: int) -> Tensor:
        return self.fuse(super().placeholder(features, count))


def scale_about_centre(boxes: Tensor, scale: float, size: tuple[int, int]) -> Tensor:
    """boxes [N,4] xyxy with their sides times `scale`, centres kept; then clipped to size, (height, width)."""
    if scale == 1:
        return boxes
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) * (scale / 2)
    return clip_boxes_to_image(torch.cat([centre - half, centre + half], dim=1), size)


def context_extractor(
    resolution: int,
    *,
    channels: int,
    dialect: str,
    scales: Sequence[float] = CONTEXT_SCALES,
    ratio: int = RATIO,
    level_fuse: str = "own",
) -> ContextRoIExtractor:
    """An extractor with the dialect's RoIAlign.

    level_fuse: `own` (the one level that fits a box is read), or how all levels are joined, `sum` or `concat_1x1`.
    Raises ValueError for another level_fuse.
    """
    check_choice("level_fuse", level_fuse, LEVEL_FUSIONS)
    bundle = find_dialect(dialect)
    how = {"resolution": resolution, "sampling": bundle.roi_sampling, "aligned": bundle.roi_aligned}
    if level_fuse == "own":
        pooler = OwnLevelPooler(**how)
    else:
        pooler = FusedLevelsPooler(channels=channels if level_fuse == "concat_1x1" else None, **how)
    return ContextRoIExtractor(pooler=pooler, channels=channels, scales=scales, ratio=ratio)
