"""The anchors of YOLACT (Bolya et al., ICCV 2019), and which instance each of them learns."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import box_iou

RATIOS = (1.0, 0.5, 2.0)  # width to height
POSITIVE, NEGATIVE = 0.5, 0.4  # IoU from which, and below which
IGNORED = -1


def make_anchors(
    map_sizes: Sequence[tuple[int, int]],
    scales: Sequence[float],
    *,
    size: tuple[int, int],
    squares: bool,
    device: torch.device,
) -> Tensor:
    """[A,4] xyxy px: three boxes around each cell's centre, level by level, row by row.

    map_sizes: (height, width) of each level in cells; they share an input of `size` (height, width) px evenly. scales:
    px, one per level. squares: as the published code has it, the ratios change the size of squares; otherwise the
    shape of boxes of the same area.
    """
    ratios = torch.tensor(RATIOS, device=device).sqrt()
    levels = []
    for (rows, columns), scale in zip(map_sizes, scales, strict=True):
        y = (torch.arange(rows, device=device) + 0.5) * (size[0] / rows)
        x = (torch.arange(columns, device=device) + 0.5) * (size[1] / columns)
        centres = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1).reshape(-1, 1, 2)
        half = scale / 2 * torch.stack([ratios, ratios if squares else 1 / ratios], dim=1)
        levels.append(torch.cat([centres - half, centres + half], dim=-1).reshape(-1, 4))
    return torch.cat(levels)


@torch.no_grad()
def match(anchors: Tensor, boxes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """anchors [A,4], boxes [G,4], labels [G] in 1..K -> instance [A] (0 where none) and label [A].

    An anchor learns the instance that it overlaps most: as positive from an IoU of 0.5, as background (label 0) below
    0.4, not at all (-1) between. Each instance has one anchor of its own, found greedily by IoU, whatever its IoU.
    """
    if not len(boxes):
        none = torch.zeros(len(anchors), dtype=torch.long, device=anchors.device)
        return none, none.clone()
    overlaps = box_iou(boxes, anchors)
    best, instance = overlaps.max(0)
    own = own_anchors(overlaps)
    instance[own] = torch.arange(len(boxes), device=boxes.device)
    best[own] = 1.0
    label = labels[instance].masked_fill(best < POSITIVE, IGNORED)
    return instance, label.masked_fill(best < NEGATIVE, 0)


def own_anchors(overlaps: Tensor) -> Tensor:
    """overlaps [G,A] -> [G] distinct anchors: the pair of highest IoU first, both then taken out."""
    best = overlaps.argmax(1)
    if len(best.unique()) == len(best):
        return best
    left = overlaps.clone()
    for _ in range(len(left)):
        row, column = divmod(int(left.argmax()), left.shape[1])
        best[row] = column
        left[row], left[:, column] = -1, -1
    return best
