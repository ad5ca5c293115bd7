"""Mask information flow (HTC: Chen et al., CVPR 2019): each stage's mask head also sees the last one's features."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from reprolib.models.two_stage.mask_head import MaskHead


class MaskInformationFlow(nn.Module):
    """HTC's own site between two mask heads: previous features [R,C,m,m] and RoI features [R,C,m,m] -> [R,C,m,m].

    The previous features pass a 1x1 convolution and a ReLU and are added.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out_channels = channels
        self.project = nn.Conv2d(channels, channels, 1)
        nn.init.kaiming_normal_(self.project.weight, nonlinearity="relu")
        nn.init.zeros_(self.project.bias)

    def forward(self, previous: Tensor, roi: Tensor) -> Tensor:
        return roi + self.project(previous).relu_()


class MaskFlow(nn.Module):
    """The mask heads of all stages, joined: RoI features [R,C,m,m] and a stage -> logits [R,outputs,2m,2m].

    heads: one per stage; heads[i] takes sites[i-1].out_channels. sites: one between neighbouring heads,
    (previous features, RoI features) -> the next head's input; the same module may stand at several.
    Stages count from 0. Gradients of a stage reach the earlier heads, whose predictors are not run.
    """

    def __init__(self, heads: Sequence[MaskHead], sites: Sequence[nn.Module]) -> None:
        super().__init__()
        if len(sites) != len(heads) - 1:
            raise ValueError(f"{len(heads)} mask heads need {len(heads) - 1} sites between them, not {len(sites)}")
        self.heads, self.sites = nn.ModuleList(heads), nn.ModuleList(sites)

    def features(self, roi: Tensor, stage: int) -> Tensor:
        """What the head of `stage` predicts from: [R,C,m,m]."""
        return self._chain(roi, stage)[-1]

    def forward(self, roi: Tensor, stage: int) -> Tensor:
        return self.heads[stage].predict(self.features(roi, stage))

    def all_logits(self, roi: Tensor) -> list[Tensor]:
        """The logits of every stage, each head run once."""
        chain = self._chain(roi, len(self.heads) - 1)
        return [head.predict(features) for head, features in zip(self.heads, chain, strict=True)]

    def _chain(self, roi: Tensor, stage: int) -> list[Tensor]:
        """The features of stages 0 to `stage`."""
        chain = [self.heads[0].features(roi)]
        for head, site in zip(self.heads[1 : stage + 1], self.sites[:stage], strict=True):
            chain.append(head.features(site(chain[-1], roi)))
        return chain
