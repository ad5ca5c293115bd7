"""timm backbones that give C2..C5, with norms and frozen stages as the publications train them."""

from __future__ import annotations

import dataclasses
import math
import os
from pathlib import Path

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from reprolib.models.dialects import IMAGENET_STD, find_dialect
from reprolib.params import Scale

# The publications start from torchvision's first ImageNet weights, HRNets from their authors'; timm's own default
# tags are later recipes.
PUBLISHED_WEIGHTS = {
    name: f"{name}.tv_in1k" for name in ("resnet50", "resnet101", "resnext101_32x8d", "resnext101_64x4d")
} | {name: f"{name}.ms_in1k" for name in ("hrnet_w18", "hrnet_w32", "hrnet_w40")}
# What full models have behind their feature maps, and files therefore hold.
CLASSIFIERS = ("fc.", "head.", "classifier.", "incre_modules.", "downsamp_modules.", "final_layer.")
WEIGHTS_FOLDER = "REPROLIB_WEIGHTS"  # environment variable: a folder of <timm name>.safetensors, tried before the hub


class WeightsError(RuntimeError):
    """ImageNet weights cannot be had or do not fit; the message names the file and the mend."""


class FrozenNorm(FrozenBatchNorm2d):
    """Batch norm whose statistics and affine are buffers, as one multiply-add."""

    def forward(self, x: Tensor) -> Tensor:
        """x [B,C,H,W] -> [B,C,H,W]."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        return torch.addcmul(shift[:, None, None].to(x.dtype), x, scale[:, None, None].to(x.dtype))


class EvalBatchNorm(nn.BatchNorm2d):
    """Batch norm that runs on its stored statistics even while the model trains; its affine is trained."""

    def train(self, mode: bool = True) -> EvalBatchNorm:
        return super().train(False)


class Backbone(nn.Module):
    """[B,3,H,W] -> [C2, C3, C4, C5] at strides 4, 8, 16, 32. `channels` has their widths."""

    def __init__(self, body: nn.Module, *, channels: list[int]) -> None:
        super().__init__()
        self.body = body
        self.channels = channels

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.body(x)


def build_backbone(
    name: str, *, scale: Scale, dialect: str, stride_in_1x1: bool = False, dilated_c5: bool = False
) -> Backbone:
    """The published backbone `name`, or the thin one that `scale.backbones` puts in its place.

    stride_in_1x1: bottlenecks down-sample in their first 1x1 convolution (the original MSRA layout), not the 3x3.
    dilated_c5: C5 stays at stride 16, its 3x3 convolutions are dilated instead; of the ResNet family alone.
    `scale.frozen_stages` holds for the ResNet family: a published HRNet, or its stand-in, trains whole, as in
    mmdetection. On the meta device no weights are loaded. Raises WeightsError when pretrained weights are wanted
    and cannot be had, ValueError for a norm or a backbone that is not known.
    """
    bundle = find_dialect(dialect)
    timm_name = scale.backbones.get(name, name)
    timm_name = PUBLISHED_WEIGHTS.get(timm_name, timm_name)
    if not timm.is_model(timm_name.split(".")[0]):
        mend = f"`scale.backbones.{name}` in params.yaml" if name in scale.backbones else "the experiment's backbone"
        raise ValueError(f"timm has no backbone {timm_name!r}; change {mend}")
    body = _create(timm_name, pretrained=scale.pretrained, zero_init_last=scale.norm == "batch", dilated_c5=dilated_c5)
    if scale.pretrained and bundle.unit_std:
        _accept_unscaled_bgr(body)
    if stride_in_1x1:
        _move_stride_to_1x1(body)
    _replace_norms(body, norm=scale.norm, trainable_affine=bundle.trainable_norm_affine)
    if not name.startswith("hrnet"):
        _freeze_stages(body, count=scale.frozen_stages, name=timm_name)
    return Backbone(body, channels=body.feature_info.channels())


def fixed_norm_backbone(name: str, *, scale: Scale) -> Backbone:
    """A backbone that trains whole but for its batch norms, see `fix_norms`. As transformers are published."""
    backbone = build_backbone(name, scale=dataclasses.replace(scale, frozen_stages=0), dialect="mm")
    fix_norms(backbone)
    return backbone


def fix_norms(backbone: Backbone) -> None:
    """Keep its batch norms as they were loaded, affine included, where `scale.norm` is `published`.

    The affine counts as parameters nevertheless.
    """
    for module in backbone.modules():
        if isinstance(module, EvalBatchNorm):
            module.requires_grad_(False)


def _create(name: str, *, pretrained: bool, zero_init_last: bool, dilated_c5: bool) -> nn.Module:
    options = {"features_only": True, "out_indices": (1, 2, 3, 4)}
    family = timm.models.model_entrypoint(name.split(".")[0]).__module__
    if family == "timm.models.resnet":
        # Residual branches whose norm starts at zero can only be trained if that norm is trainable.
        options["zero_init_last"] = zero_init_last
    if family == "timm.models.hrnet":
        # The four branches themselves; timm's default widens them by bottlenecks of the classification head.
        options["feature_location"] = ""
    if dilated_c5:
        options["output_stride"] = 16
    on_meta = torch.empty(()).is_meta
    if not pretrained or on_meta:
        return timm.create_model(name, pretrained=False, **options)
    folder = os.environ.get(WEIGHTS_FOLDER)
    path = Path(folder or ".") / f"{name}.safetensors"
    if folder and path.exists():
        body = timm.create_model(name, pretrained=False, **options)
        _load(body, path)
        return body
    try:
        return timm.create_model(name, pretrained=True, **options)
    except Exception as error:  # the hub client raises many kinds, offline most of them
        raise WeightsError(
            f"pretrained weights {name!r} could not be fetched ({type(error).__name__}: {error})."
            f" Put them as {name}.safetensors into a folder and set {WEIGHTS_FOLDER} to it"
            f" (now {folder or 'unset'}), or set `pretrained: false` under the profile's scale"
        ) from error


def _load(body: nn.Module, path: Path) -> None:
    try:
        state = load_file(path)
    except Exception as error:
        raise WeightsError(f"{path} is not a readable safetensors file ({error}); fetch it again") from error
    try:
        missing, unexpected = body.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise WeightsError(f"{path} holds weights of another network: {error}") from error
    foreign = [key for key in unexpected if not key.startswith(CLASSIFIERS)]
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    if missing or foreign:
        raise WeightsError(
            f"{path} does not fit: {len(missing)} weights missing ({', '.join(missing[:3])}),"
            f" {len(foreign)} unknown ({', '.join(foreign[:3])}); save timm's model of that name"
        )


@torch.no_grad()
def _accept_unscaled_bgr(body: nn.Module) -> None:
    """Let weights trained on RGB / std see BGR on the 0..255 scale: the same function, by the first layer."""
    first = next(module for module in body.modules() if isinstance(module, nn.Conv2d))
    std = torch.tensor(IMAGENET_STD, device=first.weight.device) * 255
    first.weight.copy_((first.weight / std[:, None, None]).flip(1))


def _move_stride_to_1x1(body: nn.Module) -> None:
    for block in body.modules():
        if hasattr(block, "conv3") and block.conv2.stride == (2, 2):
            block.conv1.stride, block.conv2.stride = (2, 2), (1, 1)


def _replace_norms(body: nn.Module, *, norm: str, trainable_affine: bool) -> None:
    if norm not in ("published", "batch", "group"):
        raise ValueError(f"scale.norm is {norm!r}; known are published, batch, group")
    if norm == "batch":
        return
    for parent in list(body.modules()):
        for key, old in list(parent.named_children()):
            if isinstance(old, nn.BatchNorm2d):
                setattr(parent, key, _new_norm(old, norm=norm, trainable_affine=trainable_affine))


def _new_norm(old: nn.BatchNorm2d, *, norm: str, trainable_affine: bool) -> nn.Module:
    if type(old) is not nn.BatchNorm2d:
        raise ValueError(f"cannot freeze a norm of type {type(old).__name__}; set `norm: batch` in the profile's scale")
    channels = old.num_features
    with old.weight.device:
        if norm == "group":
            return nn.GroupNorm(math.gcd(32, channels), channels)
        new = EvalBatchNorm(channels, eps=old.eps) if trainable_affine else FrozenNorm(channels, eps=old.eps)
    if not old.weight.is_meta:
        new.load_state_dict(old.state_dict())
    return new.train()


def _freeze_stages(body: nn.Module, *, count: int, name: str) -> None:
    if not 0 <= count <= 5:
        raise ValueError(f"scale.frozen_stages is {count}; 0 freezes nothing, 1 the stem, 2 also res2, up to 5")
    if count == 0:
        return
    children = dict(body.named_children())
    if not {"layer1", "layer2", "layer3", "layer4"} <= children.keys():
        raise ValueError(
            f"{name} has no stages layer1..layer4 to freeze; set `frozen_stages: 0` in the profile's scale"
        )
    trained = {f"layer{i}" for i in range(count, 5)}
    for key, child in children.items():
        if key not in trained:
            child.requires_grad_(False)
