"""CSPAM, the cross-stage backbone with position attention (paper section 2.1, figure 2)."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor, nn

from reprolib.models.backbones import Backbone, build_backbone
from reprolib.papers.location_attention.position_attention import PositionAttention
from reprolib.papers.location_attention.switches import Switches
from reprolib.params import Scale

STAGES = (2, 3, 4, 5)
TIMM_CSP = "cspresnet50.ra_in1k"
NARROWING = 4  # of a bottleneck's middle, as in the ResNet


class CrossStage(nn.Module):
    """A stage of a ResNet, C_i -> C_{i+1} [B,out,h,w], of which half the channels skip all blocks but the first.

    first: the stage's own first block, which strides and widens. Then half the channels go through `blocks`
    bottlenecks of out / 2 (out / 8 in the middle), `attention` and a 1x1 convolution; both halves together through
    another one. A batch or group norm and Mish follow every convolution.
    """

    def __init__(self, first: nn.Module, *, out: int, blocks: int, norm: str, attention: nn.Module | None) -> None:
        super().__init__()
        half = out // 2
        self.first = first
        self.blocks = nn.Sequential(*(Bottleneck(half, norm=norm) for _ in range(blocks)))
        self.attention = attention or nn.Identity()
        self.transition = conv_norm_mish(half, half, norm=norm)
        self.merge = conv_norm_mish(out, out, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        bypass, inner = self.first(x).chunk(2, dim=1)
        return self.merge(torch.cat([bypass, self.transition(self.attention(self.blocks(inner)))], dim=1))


class Bottleneck(nn.Module):
    """[B,C,h,w] -> the same: 1x1 to C / 4, 3x3, 1x1 to C, added to the input, Mish."""

    def __init__(self, channels: int, *, norm: str) -> None:
        super().__init__()
        middle = channels // NARROWING
        self.reduce = conv_norm_mish(channels, middle, norm=norm)
        self.conv = conv_norm_mish(middle, middle, kernel_size=3, norm=norm)
        self.expand = conv_norm_mish(middle, channels, norm=norm)[:-1]
        self.activation = nn.Mish()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(x + self.expand(self.conv(self.reduce(x))))


def cross_stage_backbone(name: str, *, scale: Scale, switches: Switches) -> Backbone:
    """CSPAM in the place of the ResNet `name`, or of the thin one that `scale.backbones` puts in its place.

    C2..C5 are as wide as the ResNet's. Every ReLU is a Mish. Nothing is frozen, and where the scale asks for the
    publications' frozen batch norms they train: no weights exist that would fit them. A stand-in whose stages have a
    single block gets one bottleneck per stage all the same. Raises ValueError for a backbone that is no ResNet.
    """
    norm = "batch" if scale.norm == "published" else scale.norm
    pretrained = scale.pretrained and _wants_imagenet(switches)
    if switches.csp_impl == "timm_cspresnet50":
        return _timm_cspresnet50(norm=norm, pretrained=pretrained, switches=switches)
    host = build_backbone(
        name,
        scale=dataclasses.replace(scale, norm=norm, pretrained=pretrained, frozen_stages=0),
        dialect="mm",
    )
    body = host.body
    for stage, out in zip(STAGES, host.channels, strict=True):
        old = getattr(body, f"layer{stage - 1}", None)
        if old is None:
            raise ValueError(f"{name} has no stages layer1..layer4: CSPAM is made of a ResNet")
        attention = PositionAttention(out // 2, switches=switches) if str(stage) in switches.pam_stages else None
        blocks = max(1, len(old) - 1)
        setattr(body, f"layer{stage - 1}", CrossStage(old[0], out=out, blocks=blocks, norm=norm, attention=attention))
    _replace_relu(body)
    return host


def conv_norm_mish(in_channels: int, out_channels: int, *, kernel_size: int = 1, norm: str) -> nn.Sequential:
    """Same-size convolution without bias, norm, Mish."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, _norm(out_channels, norm=norm), nn.Mish())


def _wants_imagenet(switches: Switches) -> bool:
    if switches.csp_pretrained == "auto":
        return switches.csp_impl == "timm_cspresnet50"
    return switches.csp_pretrained == "imagenet"


def _timm_cspresnet50(*, norm: str, pretrained: bool, switches: Switches) -> Backbone:
    """timm's own CSP layout, 20.6 M parameters and half as wide, at any scale; its weights saw LeakyReLU."""
    scale = Scale(norm="batch", pretrained=pretrained, frozen_stages=0)
    backbone = build_backbone(TIMM_CSP, scale=scale, dialect="mm")
    for stage in STAGES:
        if str(stage) in switches.pam_stages:
            blocks = getattr(backbone.body, f"stages_{stage - 2}").blocks
            blocks.add_module("attention", PositionAttention(blocks[-1].conv3.conv.out_channels, switches=switches))
    _replace_relu(backbone.body)
    if norm == "group":
        _replace_batch_norm(backbone.body)
    return backbone


def _replace_relu(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.ReLU | nn.LeakyReLU):
            setattr(module, name, nn.Mish())
        else:
            _replace_relu(child)


def _replace_batch_norm(module: nn.Module) -> None:
    """timm's fused norms and activations as two modules, the norm a group norm."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.Sequential(_norm(child.num_features, norm="group"), child.act))
        else:
            _replace_batch_norm(child)


def _norm(channels: int, *, norm: str) -> nn.Module:
    return nn.GroupNorm(math.gcd(32, channels), channels) if norm == "group" else nn.BatchNorm2d(channels)
