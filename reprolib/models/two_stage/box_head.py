"""The classifier and box regressor of Fast R-CNN, and what its outputs mean."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import TwoMLPHead


def two_layer_head(in_channels: int, *, resolution: int, hidden: int) -> TwoMLPHead:
    """[R,in_channels,resolution,resolution] -> [R,hidden]: two fully connected layers with ReLU."""
    head = TwoMLPHead(in_channels * resolution**2, hidden)
    for layer in (head.fc6, head.fc7):
        nn.init.kaiming_uniform_(layer.weight, a=1)
        nn.init.zeros_(layer.bias)
    return head


class BoxPredictor(nn.Module):
    """[R,hidden] -> class logits [R,1+K] (background first) and box deltas [R,boxes,4].

    `boxes` is K, 1+K with background_channels, 1 where the classes share one regression (class_agnostic).
    Weights start at standard deviations 0.01 and 0.001.
    """

    def __init__(
        self, hidden: int, *, num_classes: int, background_channels: bool = False, class_agnostic: bool = False
    ) -> None:
        super().__init__()
        self.cls_score = nn.Linear(hidden, 1 + num_classes)
        self.bbox_pred = nn.Linear(hidden, 4 * (1 if class_agnostic else num_classes + background_channels))
        for layer, std in ((self.cls_score, 0.01), (self.bbox_pred, 0.001)):
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.cls_score(x), self.bbox_pred(x).unflatten(1, (-1, 4))


def of_class(values: Tensor, labels: Tensor, *, background_channels: bool) -> Tensor:
    """values [R,channels,...] and labels [R] in 1..K -> [R,...]: each row's channel of its class.

    A single channel serves every class.
    """
    if values.shape[1] == 1:
        return values[:, 0]
    channel = labels if background_channels else labels - 1
    return values[torch.arange(len(values), device=values.device), channel]
