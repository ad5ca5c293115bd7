"""How good is this mask: the MaskIoU head of Mask Scoring R-CNN (Huang et al., CVPR 2019), its target and loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reprolib.models.layers.point_sampling import sample_pixels
from reprolib.models.two_stage.mask_targets import CHUNK, in_chunks


class MaskIoUHead(nn.Module):
    """RoI features [R,C,m,m] and mask probabilities [R,2m,2m] -> expected IoU of each class [R,outputs], unbounded.

    The features are those before the mask head's convolutions; the probabilities are of one class.
    """

    def __init__(self, channels: int, *, hidden: int, outputs: int, resolution: int = 14) -> None:
        super().__init__()
        layers = [(channels + 1, 1), (channels, 1), (channels, 1), (channels, 2)]
        self.convs = nn.ModuleList([nn.Conv2d(width, channels, 3, stride, padding=1) for width, stride in layers])
        self.fc1 = nn.Linear(channels * ((resolution + 1) // 2) ** 2, hidden)
        self.fc2 = nn.Linear(hidden, hidden)
        self.predictor = nn.Linear(hidden, outputs)
        for conv in self.convs:
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        for layer in (self.fc1, self.fc2):
            nn.init.kaiming_uniform_(layer.weight, a=1)
        nn.init.normal_(self.predictor.weight, std=0.01)
        for layer in (*self.convs, self.fc1, self.fc2, self.predictor):
            nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor, masks: Tensor) -> Tensor:
        x = torch.cat([features, F.max_pool2d(masks[:, None], 2)], dim=1)
        for conv in self.convs:
            x = conv(x).relu_()
        x = self.fc2(self.fc1(x.flatten(1)).relu_()).relu_()
        return self.predictor(x)


@torch.no_grad()
def visible_share(masks: Tensor, boxes: Tensor, matched: Tensor) -> Tensor:
    """How much of its instance each box holds: [R] in 0..1, 0 for an empty mask.

    masks: [G,H,W] of 0 and 1, any type. boxes: [R,4] xyxy in the pixels of the masks. matched: [R] in 0..G-1.
    Pixels that a box cuts count by the part inside.
    """
    height, width = masks.shape[-2:]
    x, y = boxes[:, 0::2].clamp(0, width), boxes[:, 1::2].clamp(0, height)
    corners = torch.stack([x.repeat(1, 2), y.repeat_interleave(2, dim=1)], dim=-1)
    shares = boxes.new_zeros(len(boxes))
    for some, index, rows in in_chunks(masks, matched, pixels=CHUNK // 4):  # three tables are held at a time
        # Summed areas are bilinear inside a pixel: interpolated at the corners they give the exact area of a box.
        table = some.cumsum(1, dtype=torch.int32).cumsum(2, dtype=torch.int32)
        table = F.pad(table, (1, 0, 1, 0))
        first, right, below, last = sample_pixels(table, index, corners[rows] + 0.5).unbind(1)
        whole = table[index, -1, -1].to(boxes.dtype)
        shares[rows] = (last - right - below + first) / whole.clamp(min=1)
    return shares.clamp(0, 1)


@torch.no_grad()
def mask_iou_targets(predicted: Tensor, masks: Tensor, share: Tensor) -> Tensor:
    """IoU of each predicted mask with the whole instance, also with what the box does not hold: [R].

    predicted: bool [R,o,o]. masks: [R,o,o], the instance inside the box. share: [R], how much of it that is.
    """
    both = (masks * predicted).sum((1, 2))
    whole = masks.sum((1, 2)) / share.clamp(min=1e-7)
    either = predicted.sum((1, 2)) + whole - both
    return both / either.clamp(min=1e-7)


def mask_iou_loss(predicted: Tensor, targets: Tensor) -> Tensor:
    """Half the mean squared error of predicted and target IoU [R] over the masks that overlap at all; 0 without any."""
    overlapping = targets > 0
    return 0.5 * ((predicted - targets).square() * overlapping).sum() / overlapping.sum().clamp(min=1)
