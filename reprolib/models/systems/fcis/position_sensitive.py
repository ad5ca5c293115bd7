"""Position-sensitive RoI pooling (Dai et al., NeurIPS 2016; with finer output FCIS, Li et al., CVPR 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reprolib.models.two_stage.roi_pooler import RoIPooler

GROUPS, CELLS = 7, 3  # a box has 7 x 7 parts, each with channels of its own, and 3 x 3 cells of output


class PositionSensitivePooler(nn.Module):
    """Maps [B,49*C,h,w], a part's channels together, and boxes [N,4] px per image -> [sum of N,C,21,21].

    A cell reads the channels of the part that it lies in: RoIAlign of every part at 3 x 3. torchvision's own pooling
    has one cell a part. stride: batch pixels per pixel of the maps. sampling: see `RoIPooler`.
    """

    def __init__(self, *, stride: int, sampling: int) -> None:
        super().__init__()
        self.align = RoIPooler(resolution=CELLS, sampling=sampling, aligned=True, strides=(stride,))

    def forward(self, maps: Tensor, boxes: list[Tensor]) -> Tensor:
        by_part = maps.unflatten(1, (GROUPS**2, -1)).flatten(0, 1)
        pooled = self.align([by_part], [part for image_boxes in boxes for part in parts(image_boxes)])
        images = pooled.split([len(image_boxes) * GROUPS**2 for image_boxes in boxes])
        return torch.cat([_joined(part) for part in images])


def parts(boxes: Tensor) -> Tensor:
    """boxes [N,4] xyxy -> their 7 x 7 parts, row by row: [49,N,4]."""
    start, size = boxes[:, :2], (boxes[:, 2:] - boxes[:, :2]) / GROUPS
    rows, columns = torch.meshgrid(*[torch.arange(GROUPS, device=boxes.device)] * 2, indexing="ij")
    place = torch.stack([columns, rows], dim=-1).view(-1, 1, 2)
    return torch.cat([start + place * size, start + (place + 1) * size], dim=2)


def _joined(pooled: Tensor) -> Tensor:
    """One image's parts [49*N,C,3,3] -> [N,C,21,21]."""
    grid = pooled.unflatten(0, (GROUPS, GROUPS, -1))  # [7,7,N,C,3,3]
    return grid.permute(2, 3, 0, 4, 1, 5).flatten(4, 5).flatten(2, 3)
