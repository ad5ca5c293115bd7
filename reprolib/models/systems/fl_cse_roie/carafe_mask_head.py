"""A mask head that CARAFE enlarges (FL-CSE-RoIE: Zhang and Zhang, IEEE GRSL 2022)."""

from __future__ import annotations

from reprolib.models.layers.carafe import Carafe
from reprolib.models.two_stage.mask_head import MaskHead


class CarafeMaskHead(MaskHead):
    """`MaskHead` with CARAFE in place of its deconvolution: [R,C,m,m] -> logits [R,outputs,2m,2m]."""

    def __init__(self, channels: int, *, outputs: int) -> None:
        super().__init__(channels, outputs=outputs)
        self.upsample = Carafe(channels)
