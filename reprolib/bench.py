"""Our Mask R-CNN against torchvision's at equal weights, inputs and settings, alternating in one process.

`python -m reprolib bench` prints how many times faster ours is: a ratio above 1 means that ours needs less time.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

from reprolib.models import mask_rcnn
from reprolib.params import Scale, Schedule

NUM_CLASSES = 80


def from_torchvision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of torchvision's Mask R-CNN under the names of ours (dialect "torchvision")."""
    names = {
        "backbone.fpn.inner_blocks.{}.0": "neck.laterals.{}",
        "backbone.fpn.layer_blocks.{}.0": "neck.outputs.{}",
        "roi_heads.mask_head.{}.0": "roi_heads.mask_head.convs.{}",
        "roi_heads.mask_predictor.conv5_mask": "roi_heads.mask_head.upsample",
        "roi_heads.mask_predictor.mask_fcn_logits": "roi_heads.mask_head.predictor",
    }
    exact = {old.format(i): new.format(i) for old, new in names.items() for i in range(4)}
    renamed = {}
    for key, value in state.items():
        module, _, leaf = key.rpartition(".")
        renamed[f"{exact.get(module, module)}.{leaf}"] = value
    return renamed


def build_pair(
    *, image_size: tuple[int, int], num_classes: int = NUM_CLASSES, seed: int = 0
) -> tuple[nn.Module, MaskRCNN]:
    """Ours and torchvision's Mask R-CNN, ResNet-50, frozen norms, equal random weights, equal settings.

    The box classifier is widened so that untrained networks give as many detections as are kept (100 per image).
    """
    torch.manual_seed(seed)
    short, long = min(image_size), max(image_size)
    backbone = resnet_fpn_backbone(backbone_name="resnet50", weights=None, trainable_layers=3)
    theirs = MaskRCNN(backbone, num_classes + 1, min_size=short, max_size=long, rpn_post_nms_top_n_train=1000)
    spread_predictions(theirs)
    scale = Scale(pretrained=False)
    schedule = Schedule(min_sizes=(short,), test_size=short, max_size=long)
    ours = mask_rcnn.build(
        num_classes=num_classes, backbone="resnet50", scale=scale, schedule=schedule, dialect="torchvision"
    )
    ours.load_state_dict(from_torchvision(theirs.state_dict()))
    return ours, theirs


@torch.no_grad()
def spread_predictions(model: MaskRCNN) -> None:
    """Give random weights outputs like a trained network's: bounded features, confident classes, mask shapes."""
    for module in model.backbone.modules():
        if hasattr(module, "bn3"):  # without batch statistics every residual block would double the activations
            module.bn3.weight.mul_(0.2)
    predictor = model.roi_heads.box_predictor
    predictor.cls_score.weight.mul_(100)
    model.roi_heads.mask_predictor.mask_fcn_logits.weight.mul_(30)
