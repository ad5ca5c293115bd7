"""From queries to classes and masks (MaskFormer, Cheng et al., NeurIPS 2021, section 3.3)."""

from __future__ import annotations

from torch import Tensor, nn

from reprolib.models.layers.transformer import perceptron


class QueryPredictor(nn.Module):
    """Queries [B,Q,C] and the mask feature [B,C,h,w] -> class logits [B,Q,1+K], mask logits [B,Q,h,w] float32."""

    def __init__(self, channels: int, *, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.classes = nn.Linear(channels, 1 + num_classes)
        self.masks = perceptron(channels, out_channels=channels)

    def forward(self, x: Tensor, mask_feature: Tensor) -> tuple[Tensor, Tensor]:
        x = self.norm(x)
        masks = self.masks(x) @ mask_feature.flatten(2)
        return self.classes(x), masks.float().unflatten(2, mask_feature.shape[-2:])
