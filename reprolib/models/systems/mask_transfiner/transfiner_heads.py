"""RoI heads of Mask Transfiner (Ke et al., CVPR 2022): the finer levels read a P2 with four more convolutions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reprolib.models.two_stage.roi_heads import RoIHeads
from reprolib.models.two_stage.samples import Samples

STRIDE = 4  # of P2
SEMANTIC_WEIGHT = 0.25


class TransfinerHeads(RoIHeads):
    """`RoIHeads` with a tower on P2, which the mask branch reads besides the pyramid.

    The tower also learns in training which pixels are of any instance. mask_branch: see `TransfinerBranch`.
    """

    def __init__(self, *, channels: int, **heads) -> None:
        super().__init__(**heads)
        convs = [nn.Conv2d(channels, channels, 3, padding=1) for _ in range(4)]
        for conv in convs:
            nn.init.xavier_uniform_(conv.weight)
        self.tower = nn.Sequential(*(part for conv in convs for part in (conv, nn.ReLU(inplace=True))))[:-1]
        self.semantic = nn.Conv2d(channels, 1, 1)

    def prepare(
        self, features: list[Tensor], image_sizes: list[tuple[int, int]], targets: list[dict] | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """P2 plus its tower [B,C,h,w], and with targets loss_semantic."""
        detail = self.tower(features[0])
        if targets is None:
            return features[0] + detail, {}
        logits = self.semantic(detail).float()[:, 0]
        foreground = any_instance(targets, image_sizes, like=logits)
        loss = SEMANTIC_WEIGHT * F.binary_cross_entropy_with_logits(logits, foreground)
        return features[0] + detail, {"loss_semantic": loss}

    def mask_losses(
        self, features: list[Tensor], context: Tensor, positives: Samples, targets: list[dict]
    ) -> dict[str, Tensor]:
        return self.mask_branch.losses(features, positives, targets, fine=context)

    def mask_inference(
        self, features: list[Tensor], context: Tensor, detections: list[dict[str, Tensor]]
    ) -> list[dict[str, Tensor]]:
        """The detections with `masks` [N,112,112], probabilities of their class."""
        return self.mask_branch.inference(features, detections, fine=context)

    def dry_run(self, features: list[Tensor], *, proposals: int, detections: int) -> None:
        self.tower(features[0])
        super().dry_run(features, proposals=proposals, detections=detections)


@torch.no_grad()
def any_instance(targets: list[dict], image_sizes: list[tuple[int, int]], *, like: Tensor) -> Tensor:
    """[B,h,w] of `like`, at stride 4: 1 where the original pixel at a cell's centre is of an instance, else 0."""
    foreground = torch.zeros_like(like)
    for cells, target, (height, width) in zip(foreground, targets, image_sizes, strict=True):
        masks = target["masks"]
        if not len(masks):
            continue
        columns, rows = (
            ((torch.arange(-(-length // STRIDE), device=like.device) + 0.5) * STRIDE * factor)
            .long()
            .clamp(max=most - 1)
            for length, factor, most in zip(
                (width, height), target["to_original"], reversed(masks.shape[-2:]), strict=True
            )
        )
        cells[: len(rows), : len(columns)] = masks[:, rows[:, None], columns].any(0).to(like)
    return foreground
