"""Our Mask R-CNN and torchvision's with equal weights and settings, of any scale: what benchmarks compare."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import FrozenBatchNorm2d

from reprolib.models.input_transform import InputSize
from reprolib.models.systems.mask_rcnn import model as mask_rcnn
from reprolib.models.two_stage.detector import TwoStage
from reprolib.params import Scale

STAGES = ("conv1", "layer1", "layer2", "layer3", "layer4")


def build_pair(
    *, num_classes: int, backbone: str, scale: Scale, input_size: InputSize, seed: int = 0
) -> tuple[TwoStage, MaskRCNN]:
    """Ours in the dialect "torchvision" and torchvision's own detector, with the weights that the latter starts from.

    backbone: a ResNet that timm and torchvision both have by this name; stand-ins of the scale are not looked up.
    input_size: one size to train and test at, since each draws among several in its own way. Raises ValueError.
    """
    if input_size.min_sizes != (input_size.test_size,):
        raise ValueError(f"a pair needs one input size, not {input_size.min_sizes} and {input_size.test_size}")
    if scale.pretrained:
        raise ValueError("a pair starts from random weights; set scale.pretrained to False")
    torch.manual_seed(seed)
    theirs = torchvision_model(num_classes=num_classes, backbone=backbone, scale=scale, input_size=input_size)
    ours = mask_rcnn.build(
        num_classes=num_classes,
        backbone=backbone,
        scale=dataclasses.replace(scale, backbones={}),
        input_size=input_size,
        dialect="torchvision",
    )
    ours.load_state_dict(from_torchvision(theirs.state_dict()))
    return ours, theirs


def torchvision_model(*, num_classes: int, backbone: str, scale: Scale, input_size: InputSize) -> MaskRCNN:
    """torchvision's Mask R-CNN of the parts it is published with, in the widths and counts of a scale.

    Raises ValueError for a norm that it does not have.
    """
    norms = {"published": FrozenBatchNorm2d, "batch": nn.BatchNorm2d, "group": _group_norm}
    if scale.norm not in norms:
        raise ValueError(f"scale.norm is {scale.norm!r}; known are {', '.join(norms)}")
    body = torchvision.models.get_model(backbone, weights=None, norm_layer=norms[scale.norm])
    trained = STAGES[scale.frozen_stages :] + (() if scale.frozen_stages else ("bn1",))
    for name, parameter in body.named_parameters():
        parameter.requires_grad_(name.startswith(trained))
    channels, outputs = scale.channels, num_classes + 1
    pyramid = BackboneWithFPN(
        body,
        return_layers={f"layer{i + 1}": str(i) for i in range(4)},
        in_channels_list=[body.inplanes >> shift for shift in (3, 2, 1, 0)],
        out_channels=channels,
    )
    return MaskRCNN(
        pyramid,
        min_size=input_size.test_size,
        max_size=input_size.max_size,
        rpn_anchor_generator=AnchorGenerator(tuple((s,) for s in scale.anchor_sizes), ((0.5, 1.0, 2.0),) * 5),
        rpn_pre_nms_top_n_train=scale.rpn_pre_nms[0],
        rpn_pre_nms_top_n_test=scale.rpn_pre_nms[1],
        rpn_post_nms_top_n_train=scale.rpn_post_nms[0],
        rpn_post_nms_top_n_test=scale.rpn_post_nms[1],
        rpn_batch_size_per_image=scale.rpn_batch,
        box_head=TwoMLPHead(channels * 7**2, scale.box_hidden),
        box_predictor=FastRCNNPredictor(scale.box_hidden, outputs),
        box_score_thresh=scale.score_threshold or 0.05,
        box_detections_per_img=scale.detections,
        box_batch_size_per_image=scale.roi_batch,
        mask_head=MaskRCNNHeads(channels, (channels,) * 4, 1),
        mask_predictor=MaskRCNNPredictor(channels, channels, outputs),
    )


def _group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(32, channels), channels)


def from_torchvision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of torchvision's Mask R-CNN under the names of ours (dialect "torchvision")."""
    names = {
        "backbone.fpn.inner_blocks.{}.0": "neck.laterals.{}",
        "backbone.fpn.layer_blocks.{}.0": "neck.outputs.{}",
        "roi_heads.box_head.fc{}": "roi_heads.box_stage.head.fc{}",
        "roi_heads.box_predictor.cls_score": "roi_heads.box_stage.predictor.cls_score",
        "roi_heads.box_predictor.bbox_pred": "roi_heads.box_stage.predictor.bbox_pred",
        "roi_heads.mask_head.{}.0": "roi_heads.mask_branch.head.convs.{}",
        "roi_heads.mask_predictor.conv5_mask": "roi_heads.mask_branch.head.upsample",
        "roi_heads.mask_predictor.mask_fcn_logits": "roi_heads.mask_branch.head.predictor",
    }
    exact = {old.format(i): new.format(i) for old, new in names.items() for i in range(8)}
    renamed = {}
    for key, value in state.items():
        module, _, leaf = key.rpartition(".")
        renamed[f"{exact.get(module, module)}.{leaf}"] = value
    return renamed


@torch.no_grad()
def spread_predictions(model: MaskRCNN) -> None:
    """Give random weights outputs like a trained network's: bounded features, confident classes, mask shapes."""
    damp_residuals(model.backbone)
    predictor = model.roi_heads.box_predictor
    predictor.cls_score.weight.mul_(100)
    model.roi_heads.mask_predictor.mask_fcn_logits.weight.mul_(30)


@torch.no_grad()
def damp_residuals(backbone: nn.Module) -> None:
    """Without batch statistics every residual block of a random ResNet would double the activations."""
    for module in backbone.modules():
        if hasattr(module, "bn3"):
            module.bn3.weight.mul_(0.2)
