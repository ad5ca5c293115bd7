"""SEANet's mask head: channel attention, and an edge branch behind position attention (paper, section 3.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reprolib.models.switch_checks import check_choice
from reprolib.models.two_stage.mask_head import MaskHead


class ChannelAttention(nn.Module):
    """x [R,C,m,m] -> x times a weight in 0..1 for each channel of each RoI; m is at least 9.

    Squeeze-and-excitation with reduction 16, after two 5x5 convolutions. These have no padding and no activation
    (code): 14x14 becomes 10x10, then 6x6, which is averaged.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(nn.Conv2d(channels, channels, 5), nn.Conv2d(channels, channels, 5))
        reduced = max(1, channels // 16)
        self.squeeze = nn.Linear(channels, reduced, bias=False)
        self.excite = nn.Linear(reduced, channels, bias=False)
        _initialise(self.convs)
        for layer in (self.squeeze, self.excite):
            nn.init.normal_(layer.weight, std=0.01)

    def weights(self, x: Tensor) -> Tensor:
        """x [R,C,m,m] -> [R,C]."""
        return self.excite(self.squeeze(self.convs(x).mean((2, 3))).relu()).sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weights(x)[..., None, None]


class PositionAttention(nn.Module):
    """DANet's position attention (Fu et al., CVPR 2019): x [R,C,h,w] -> gamma * attention(x) + x.

    Position i reads the values v_j of all positions, weighted by the softmax over j of q_i . k_j, not scaled;
    queries and keys have C/8 channels. gamma starts at 0: the block is then the identity.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        embedding = max(1, channels // 8)
        self.query = nn.Conv2d(channels, embedding, 1)
        self.key = nn.Conv2d(channels, embedding, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))
        _initialise((self.query, self.key, self.value))

    def attention(self, x: Tensor) -> Tensor:
        """x [R,C,h,w] -> [R,hw,hw]; row i holds what position i takes from every position, and sums to 1."""
        return (self._positions(self.query(x)) @ self._positions(self.key(x)).transpose(2, 3)).softmax(-1)[:, 0]

    def forward(self, x: Tensor) -> Tensor:
        queries, keys, values = (self._positions(layer(x)) for layer in (self.query, self.key, self.value))
        read = F.scaled_dot_product_attention(queries, keys, values, scale=1.0)
        return self.gamma * read[:, 0].transpose(1, 2).unflatten(2, x.shape[-2:]) + x

    @staticmethod
    def _positions(x: Tensor) -> Tensor:
        """[R,E,h,w] -> [R,1,hw,E]: positions as the tokens of one attention head."""
        return x.flatten(2).transpose(1, 2)[:, None]


class EdgeAttentionMaskHead(MaskHead):
    """RoI features [R,C,14,14] -> mask logits [R,outputs,28,28], and by `with_edges` those of the edges too.

    Beside Mask R-CNN's mask head, which keeps its layers: the input weighted by channel attention joins what the
    four convolutions make; after the enlargement the edge branch joins (position attention, four convolutions,
    deconvolution). A deconvolution here is 2x2, stride 2, with ReLU; 1x1 convolutions have no activation.
    Order of the layers: specification, section 3, a to j. 6,843,714 parameters more than the plain head at C = 256.

    edge_fuse: `sum` (the paper's best) or `concat`. dead_gamma: a parameter more, of a channel attention that the
    code builds and never uses. Raises ValueError for another edge_fuse.
    """

    def __init__(self, channels: int, *, outputs: int, edge_fuse: str = "sum", dead_gamma: bool = False) -> None:
        super().__init__(channels, outputs=outputs)
        check_choice("edge_fuse", edge_fuse, ("sum", "concat"))
        self.edge_fuse = edge_fuse
        self.channel_attention = ChannelAttention(channels)
        self.join = nn.Sequential(nn.Conv2d(2 * channels, channels, 1), nn.Conv2d(channels, channels, 1))
        self.position_attention = PositionAttention(channels)
        self.edge_convs = nn.ModuleList([nn.Conv2d(channels, channels, 3, padding=1) for _ in range(4)])
        self.edge_upsample = nn.ConvTranspose2d(channels, channels, 2, stride=2)
        self.edge_predictor = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.Conv2d(channels, 1, 1))
        self.fuse = nn.Conv2d(channels if edge_fuse == "sum" else 2 * channels, channels, 1)
        _initialise((*self.join, *self.edge_convs, self.edge_upsample, *self.edge_predictor, self.fuse))
        self.unused_gamma = nn.Parameter(torch.zeros(1)) if dead_gamma else None

    def features(self, x: Tensor) -> Tensor:
        """The four convolutions' output joined with the weighted input: [R,C,14,14]."""
        return self.join(torch.cat([super().features(x), self.channel_attention(x)], dim=1))

    def edge_features(self, x: Tensor) -> Tensor:
        """RoI features [R,C,14,14] -> what edges are predicted from and masks are helped by: [R,C,28,28]."""
        x = self.position_attention(x)
        for conv in self.edge_convs:
            x = conv(x).relu_()
        return self.edge_upsample(x).relu_()

    def forward(self, x: Tensor) -> Tensor:
        """Mask logits alone, as inference needs them."""
        return self.mask_logits(x, self.edge_features(x))

    def with_edges(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """RoI features -> mask logits [R,outputs,28,28], edge logits [R,28,28]."""
        edges = self.edge_features(x)
        return self.mask_logits(x, edges), self.edge_predictor(edges)[:, 0]

    def mask_logits(self, x: Tensor, edges: Tensor) -> Tensor:
        """RoI features [R,C,14,14], edge features [R,C,28,28] -> [R,outputs,28,28]."""
        masks = self.upsample(self.features(x)).relu_()
        return self.predictor(self.fuse(masks + edges if self.edge_fuse == "sum" else torch.cat([masks, edges], dim=1)))


def _initialise(layers) -> None:
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(layer.bias)
