"""A network that breaks the detector contract is found, and what it breaks is said."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from reprolib.experiment import Experiment
from reprolib.pipeline import contract_check
from reprolib.pipeline.contract_check import SIDE, broken_contract

MASK_RCNN = Experiment(
    system="Mask R-CNN", module="reprolib.models.systems.mask_rcnn.model", backbone="resnet50", dataset="coco"
)


class Stub(nn.Module):
    """A network with one weight that returns what it is given."""

    def __init__(self, losses, detections) -> None:
        super().__init__()
        self.weight, self.losses, self.detections = nn.Parameter(torch.ones(())), losses, detections

    def forward(self, images, targets=None):
        return self.losses(self.weight) if self.training else self.detections


def found(**changes):
    """The detections of an image with one object, with changes."""
    masks = torch.zeros(1, SIDE, SIDE, dtype=torch.bool)
    right = {"boxes": torch.zeros(1, 4), "labels": torch.ones(1), "scores": torch.ones(1), "masks": masks}
    return right | changes


def one_loss(weight):
    return {"loss": weight * 2}


def test_a_system_that_keeps_it():
    assert broken_contract(MASK_RCNN) == ""


@pytest.mark.parametrize(
    ("losses", "detections", "message"),
    [
        (lambda weight: weight, [found()] * 2, "does not return its losses by name"),
        (lambda weight: {"loss": weight / 0}, [found()] * 2, "a loss loss in step 1 that is no finite scalar"),
        (lambda weight: {"loss": weight[None]}, [found()] * 2, "that is no finite scalar"),
        (one_loss, [found()], "does not return one entry for each image"),
        (one_loss, [{"boxes": torch.zeros(0, 4)}] * 2, "has no 'labels' in its detections"),
        (one_loss, [found(boxes=torch.zeros(2, 4))] * 2, "has boxes [2, 4] beside 1 scores"),
        (one_loss, [found(masks=torch.zeros(1, SIDE, SIDE))] * 2, "has masks of type torch.float32"),
        (one_loss, [found(labels=torch.tensor([0]))] * 2, "has labels outside 1 to 2"),
    ],
)
def test_what_it_breaks_is_said(monkeypatch, losses, detections, message):
    monkeypatch.setattr(contract_check, "_thin", lambda experiment, **_: Stub(losses, detections))
    assert message in broken_contract(MASK_RCNN)


def test_an_image_without_instances_and_one_without_detections_are_tried(monkeypatch):
    class Strict(Stub):
        """It fails where there is nothing to learn (`instances`), or nothing to detect (above a threshold of 1)."""

        instances, threshold = 0, 0.0

        def forward(self, images, targets=None):
            if self.training and any(len(target["labels"]) < self.instances for target in targets):
                raise RuntimeError("no instances")
            if not self.training and self.threshold >= 1:
                raise RuntimeError("no detections")
            return super().forward(images, targets)

    def thin(experiment, *, score_threshold=0.0):
        model = Strict(one_loss, [found()] * 2)
        model.instances, model.threshold = instances, score_threshold
        return model

    monkeypatch.setattr(contract_check, "_thin", thin)
    instances = 1
    assert broken_contract(MASK_RCNN) == "fails: RuntimeError: no instances"
    instances = 0
    assert broken_contract(MASK_RCNN) == "fails: RuntimeError: no detections"


def test_what_a_builder_raises_is_said():
    experiment = Experiment(system="S", module="reprolib.nowhere", backbone="resnet50", dataset="coco")
    assert broken_contract(experiment).startswith("fails: ModuleNotFoundError: No module named")
