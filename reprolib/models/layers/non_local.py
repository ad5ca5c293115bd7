"""Non-local block (Wang et al., CVPR 2018), embedded Gaussian form: self-attention over the positions of a map."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class NonLocal(nn.Module):
    """[B,C,h,w] -> the same: x + Wz(y), y_i = sum over j of softmax_j(phi_i . theta_j) g_j.

    embedding: width of phi, theta and g; a quarter of C by default (MAI-SE-Net), `channels` for the full width
    (Libra R-CNN's balanced pyramid). scaled: divide the products by the square root of the embedding's width
    (mmdetection does, the papers' formula does not).
    Wz starts at zero: the block is then an identity.
    """

    def __init__(self, channels: int, *, embedding: int | None = None, scaled: bool = False) -> None:
        super().__init__()
        embedding = embedding or max(1, channels // 4)
        self.phi = nn.Conv2d(channels, embedding, 1)
        self.theta = nn.Conv2d(channels, embedding, 1)
        self.g = nn.Conv2d(channels, embedding, 1)
        self.output = nn.Conv2d(embedding, channels, 1)
        self.factor = embedding**-0.5 if scaled else 1.0
        for layer in (self.phi, self.theta, self.g):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def attention(self, x: Tensor) -> Tensor:
        """x [B,C,h,w] -> [B,hw,hw]; row i holds what position i takes from every position, and sums to 1."""
        phi, theta = self._positions(self.phi(x)), self._positions(self.theta(x))
        return (phi * self.factor @ theta.transpose(2, 3)).softmax(dim=-1)[:, 0]

    def forward(self, x: Tensor) -> Tensor:
        queries, keys, values = (self._positions(layer(x)) for layer in (self.phi, self.theta, self.g))
        gathered = F.scaled_dot_product_attention(queries, keys, values, scale=self.factor)
        return x + self.output(gathered[:, 0].transpose(1, 2).unflatten(2, x.shape[-2:]))

    @staticmethod
    def _positions(x: Tensor) -> Tensor:
        """[B,E,h,w] -> [B,1,hw,E]: positions as the tokens of one attention head."""
        return x.flatten(2).transpose(1, 2)[:, None]
