"""SCNet's global context branch: which classes are in the image, and the vector that says so (AAAI 2021)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reprolib.models.two_stage.residual_mask_head import ResidualPair


class GlobalContextHead(nn.Module):
    """The coarsest map [B,channels,h,w] -> class logits [B,classes] in float32, context [B,channels].

    Two residual pairs and the average over the map (padding included, as in the authors' code) give the context,
    one fully connected layer the logits. classes: at least K; outputs beyond K are never positive.
    loss_weight: 3 as published.
    """

    def __init__(self, channels: int, *, classes: int, loss_weight: float = 3.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.convs = nn.Sequential(ResidualPair(channels), ResidualPair(channels))
        self.fc = nn.Linear(channels, classes)
        nn.init.normal_(self.fc.weight, std=0.01)
        nn.init.zeros_(self.fc.bias)

    def forward(self, coarsest: Tensor) -> tuple[Tensor, Tensor]:
        context = self.convs(coarsest).mean((2, 3))
        return self.fc(context).float(), context

    def loss(self, logits: Tensor, targets: list[dict]) -> Tensor:
        """Weighted binary cross-entropy, averaged over all entries, with the set of classes in each image."""
        present = torch.zeros_like(logits)
        for row, target in zip(present, targets, strict=True):
            row.index_fill_(
                0, target["labels"] - 1, 1.0
            )  # indexing with a tensor would copy the number to the GPU first
        return self.loss_weight * F.binary_cross_entropy_with_logits(logits, present)


def per_box(context: Tensor, boxes: list[Tensor]) -> Tensor:
    """context [B,C] and each image's boxes [N,4] -> [sum of N,C,1,1]: every box gets its image's vector."""
    repeated = [vector.expand(len(some), -1) for vector, some in zip(context, boxes, strict=True)]
    return torch.cat(repeated)[:, :, None, None]
