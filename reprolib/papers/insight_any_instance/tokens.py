"""What both prompt modules are made of: patches as tokens, their places, transformer layers, crops of the image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import roi_align

from reprolib.models.two_stage.roi_align_cpu import roi_align_cpu
from reprolib.models.two_stage.roi_pooler import to_rois

HEAD_WIDTH = 32  # 8 heads of 256 channels; thin networks have fewer heads
EXPANSION = 4  # of the feed-forward layers
GRID = 14  # side of a prompt, which is that of the RoI features
SAMPLING = 2  # RoIAlign's samples per pixel of a crop and axis


class TransformerLayer(nn.Module):
    """Pre-norm self-attention, then a pre-norm feed-forward layer with GELU: [B,T,C] -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = next(count for count in range(max(1, channels // HEAD_WIDTH), 0, -1) if channels % count == 0)
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.qkv = linear(channels, 3 * channels)
        self.project = linear(channels, channels)
        self.widen, self.narrow = linear(channels, EXPANSION * channels), linear(EXPANSION * channels, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        parts = self.qkv(self.norm1(tokens)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(*parts.unbind(0))
        tokens = tokens + self.project(attended.transpose(1, 2).flatten(2))
        return tokens + self.narrow(F.gelu(self.widen(self.norm2(tokens))))


class Patches(nn.Module):
    """A convolution that makes tokens: [B,3,h,w] -> [B,T,channels], row by row; its patches may overlap."""

    def __init__(self, channels: int, *, size: int, stride: int, padding: int = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, size, stride=stride, padding=padding)
        nn.init.xavier_uniform_(self.conv.weight.flatten(1))  # as the linear layer that it is
        nn.init.zeros_(self.conv.bias)

    def forward(self, images: Tensor) -> Tensor:
        return self.conv(images).flatten(2).transpose(1, 2)


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A layer as transformers start it."""
    layer = nn.Linear(inputs, outputs)
    nn.init.trunc_normal_(layer.weight, std=0.02)
    nn.init.zeros_(layer.bias)
    return layer


def places(rows: int, columns: int, channels: int, *, device: torch.device) -> Tensor:
    """Sines and cosines of the row (first half of the channels) and of the column: [rows*columns,channels]."""
    rates = 10000.0 ** -torch.linspace(0, 1, channels // 4 + 1, device=device)[:-1]

    def waves(count: int) -> Tensor:
        angles = torch.arange(count, device=device)[:, None] * rates
        return torch.cat([angles.sin(), angles.cos()], dim=1)

    down = waves(rows)[:, None].expand(-1, columns, -1)
    across = waves(columns)[None].expand(rows, -1, -1)
    return torch.cat([down, across], dim=2).flatten(0, 1)


def as_grid(tokens: Tensor) -> Tensor:
    """tokens [n,s*s,C] -> [n,C,14,14]: a finer grid is averaged, a coarser one repeated. s: 14 times a power of 2."""
    side = round(tokens.shape[1] ** 0.5)
    grid = tokens.transpose(1, 2).unflatten(2, (side, side))
    if side > GRID:
        return F.avg_pool2d(grid, side // GRID)
    return grid if side == GRID else F.interpolate(grid, size=(GRID, GRID), mode="nearest")


@torch.no_grad()
def crop(images: Tensor, boxes: list[Tensor], *, size: int, op: str) -> Tensor:
    """What boxes show of the images [B,3,H,W]: [sum of N,3,size,size]; boxes [N,4] xyxy per image in their pixels.

    op: `roi_align`, or `bilinear_resize` of the whole pixels that a box touches.
    """
    images = images.float()
    if op == "roi_align":
        align = roi_align_cpu if images.device.type == "cpu" else roi_align
        return align(images, to_rois(boxes).float(), size, 1.0, SAMPLING, True).contiguous()
    height, width = images.shape[-2:]
    resized = []
    for image, own in zip(images, boxes, strict=True):
        low, high = own[:, :2].floor().long(), own[:, 2:].ceil().long()
        for (x0, y0), (x1, y1) in zip(low.tolist(), high.tolist(), strict=True):
            x0, y0 = min(max(x0, 0), width - 1), min(max(y0, 0), height - 1)
            part = image[None, :, y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
            resized.append(F.interpolate(part, size=(size, size), mode="bilinear", align_corners=False))
    return torch.cat(resized) if resized else images.new_zeros((0, 3, size, size))
