from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from reprolib.evaluation.cost import count_parameters, flops, on_meta

CONV = 3 * 8 * 3 * 3  # weights of conv(): 3 to 8 channels, 3 x 3, no bias


def conv():
    return nn.Conv2d(3, 8, 3, padding=1, bias=False)


class EvaluatedNorm(nn.Module):
    """Batch norm held in evaluation mode while its affine trains, as mmdetection's backbones do."""

    def __init__(self):
        super().__init__()
        self.conv = conv()
        self.norm = nn.BatchNorm2d(8)

    def train(self, mode=True):
        super().train(mode)
        self.norm.eval()
        return self


class Detector(nn.Module):
    """Counts by hand: a convolution on the image, a linear layer per proposal, an upsampling per detection."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.box = nn.Linear(8, 5)
        self.mask = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.norm = nn.BatchNorm2d(8)

    def dry_run(self, height, width, *, proposals, detections):
        device = self.box.weight.device
        features = self.norm(self.conv(torch.zeros(1, 3, height, width, device=device)))
        self.box(features.new_zeros(proposals, 8))
        self.mask(features.new_zeros(detections, 8, 7, 7))


def frozen(module):
    return module.requires_grad_(False)


@pytest.mark.parametrize(
    ("model", "params", "trainable", "without_frozen_norm"),
    [
        (nn.Sequential(conv(), nn.BatchNorm2d(8)), CONV + 16, CONV + 16, CONV + 16),
        (nn.Sequential(conv(), FrozenBatchNorm2d(8)), CONV, CONV, CONV),
        (nn.Sequential(conv(), frozen(nn.BatchNorm2d(8))), CONV + 16, CONV, CONV),
        (nn.Sequential(frozen(conv()), nn.GroupNorm(2, 8)), CONV + 16, 16, CONV + 16),
        (EvaluatedNorm(), CONV + 16, CONV + 16, CONV),
    ],
    ids=["batch", "frozen buffers", "frozen affine", "group", "evaluation mode"],
)
def test_each_counting_rule(model, params, trainable, without_frozen_norm):
    assert count_parameters(model) == {
        "params": params,
        "trainable_params": trainable,
        "params_frozen_norm_excluded": without_frozen_norm,
    }


def test_shared_modules_count_once():
    shared = nn.Sequential(conv(), frozen(nn.BatchNorm2d(8)))
    counts = count_parameters(nn.ModuleList([shared, shared]))
    assert (counts["params"], counts["params_frozen_norm_excluded"]) == (CONV + 16, CONV)


def test_multiply_adds_by_hand_on_the_meta_device():
    model = on_meta(Detector)
    assert all(parameter.is_meta for parameter in model.parameters())
    expected = 20 * 30 * 8 * 3 * 9 + 11 * 8 * 5 + 6 * 7 * 7 * 8 * 4 * 2 * 2
    assert flops(model, 40, 60, proposals=11, detections=6) == expected


def test_counting_changes_neither_modes_nor_statistics():
    model = Detector()
    model.box.eval()
    before = model.norm.running_mean.clone(), [module.training for module in model.modules()]
    count_parameters(model)
    flops(model, 16, 16, proposals=2, detections=2)
    assert torch.equal(model.norm.running_mean, before[0])
    assert [module.training for module in model.modules()] == before[1]


def test_a_model_without_dry_run_is_refused():
    with pytest.raises(TypeError, match="Linear has no dry_run"):
        flops(nn.Linear(2, 2), 8, 8, proposals=1, detections=1)
