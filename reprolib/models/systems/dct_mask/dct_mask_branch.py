"""The mask branch of DCT-Mask (Shen et al., CVPR 2021): a head that predicts a mask's cosine transform."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from reprolib.models.dialects import find_dialect
from reprolib.models.switch_checks import check_choice
from reprolib.models.systems.dct_mask.mask_dct import MaskDCT
from reprolib.models.two_stage.mask_branch import MaskBranch
from reprolib.models.two_stage.roi_pooler import roi_pooler
from reprolib.models.two_stage.samples import Samples
from reprolib.params import Scale

RESOLUTION = 14
LOSSES = {"l1": F.l1_loss, "smooth_l1": F.smooth_l1_loss, "l2": F.mse_loss}


class DCTMaskHead(nn.Module):
    """RoI features [R,C,m,m] -> coefficients [R,dim], the same for all classes.

    Four 3x3 convolutions, two fully connected layers of `hidden` and a linear one (figure 3).
    """

    def __init__(self, channels: int, *, resolution: int, hidden: int, dim: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(4))
        self.fc1 = nn.Linear(channels * resolution**2, hidden)
        self.fc2 = nn.Linear(hidden, hidden)
        self.predictor = nn.Linear(hidden, dim)
        for layer in self.convs:
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        for layer in (self.fc1, self.fc2):
            nn.init.kaiming_uniform_(layer.weight, a=1)
        nn.init.normal_(self.predictor.weight, std=0.001)
        for layer in (*self.convs, self.fc1, self.fc2, self.predictor):
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = conv(x).relu_()
        x = self.fc1(x.flatten(1)).relu_()
        return self.predictor(self.fc2(x).relu_())


class DCTMaskBranch(MaskBranch):
    """A `MaskBranch` whose head predicts coefficients of `dct`.

    distance: l1, smooth_l1 or l2 between coefficients, summed over them, averaged over the boxes, times `weight`.
    Raises ValueError for another distance. Other parameters: see `MaskBranch`.
    """

    def __init__(self, *, dct: MaskDCT, distance: str, weight: float, **branch) -> None:
        super().__init__(**branch)
        check_choice("dct_loss", distance, LOSSES)
        self.dct, self.distance, self.weight = dct, LOSSES[distance], weight

    def loss(self, logits: Tensor, positives: Samples, targets: list[dict]) -> Tensor:
        """The loss of coefficients [R,dim] of the positives; 0 without any."""
        if not len(logits):
            return logits.sum() * 0
        coefficients = self.dct.encode(self.mask_targets(positives, targets, size=self.dct.cosines.shape[1]))
        return self.weight * self.distance(logits, coefficients, reduction="sum") / len(logits)

    def masks(self, roi_features: Tensor, labels: Tensor) -> Tensor:
        """RoI features [R,C,m,m] -> [R,size,size], inside above 0.5; no probabilities, and no matter which class."""
        return self.dct.decode(self.head(roi_features))


def dct_mask_branch(
    *, scale: Scale, dialect: str, dim: int = 300, size: int = 128, distance: str = "l1", weight: float = 0.007
) -> DCTMaskBranch:
    """The branch as published: 300 coefficients of a mask of 128x128."""
    bundle = find_dialect(dialect)
    dct = MaskDCT(size=size, dim=dim)
    return DCTMaskBranch(
        pooler=roi_pooler(RESOLUTION, dialect=dialect),
        head=DCTMaskHead(scale.channels, resolution=RESOLUTION, hidden=scale.box_hidden, dim=dim),
        dct=dct,
        distance=distance,
        weight=weight,
        aligned=bundle.roi_aligned,
        binary_targets=bundle.binary_mask_targets,
    )
