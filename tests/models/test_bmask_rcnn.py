"""BMask R-CNN: counts, cost, boundaries, what each branch reads, losses."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from reprolib.evaluation.cost import count_parameters, flops, on_meta
from reprolib.models.input_transform import InputSize
from reprolib.models.systems.bmask_rcnn import model as bmask_rcnn
from reprolib.models.systems.bmask_rcnn.boundary_preserving_branch import boundary_preserving_branch
from reprolib.models.systems.bmask_rcnn.boundary_preserving_head import BoundaryPreservingHead, inner_boundary
from reprolib.models.systems.mask_rcnn import model as mask_rcnn
from reprolib.models.two_stage.samples import Samples
from reprolib.params import Scale


def published(backbone="resnet50", num_classes=80, dialect="d2", system=bmask_rcnn):
    return on_meta(
        lambda: system.build(
            num_classes=num_classes, backbone=backbone, scale=Scale(), input_size=InputSize(), dialect=dialect
        )
    )


@pytest.fixture
def branch(thin_scale):
    torch.manual_seed(0)
    return boundary_preserving_branch(num_classes=2, scale=dataclasses.replace(thin_scale, channels=4), dialect="d2")


@pytest.fixture
def features():
    torch.manual_seed(1)
    return [torch.randn(1, 4, side, side) for side in (32, 16, 8, 4)]


@pytest.mark.parametrize(
    ("dialect", "backbone", "num_classes", "total"),
    [
        ("mm", "resnet50", 80, 47_171_200),
        ("mm", "resnet50", 1, 46_725_719),
        ("mm", "resnet101", 80, 66_163_328),
        ("mm", "resnet101", 1, 65_717_847),
        ("d2", "resnet50", 80, 47_118_080),  # IEMask, Table 8: 47.1 M
    ],
)
def test_published_parameter_counts(dialect, backbone, num_classes, total) -> None:
    assert count_parameters(published(backbone, num_classes, dialect))["params"] == total


@pytest.mark.parametrize(("num_classes", "total"), [(80, 5_418_144), (1, 5_377_538)])
def test_parameters_of_the_head(num_classes, total) -> None:
    head = on_meta(lambda: BoundaryPreservingHead(256, outputs=num_classes))
    assert count_parameters(head)["params"] == total


def test_multiply_adds_per_detection() -> None:
    """1.085 G with the boundary's logits (spec, section 0.3), which inference does without: 51.4 + 16.1 M."""
    model = published()
    without, with_fifty = (flops(model, 800, 1152, 1000, count) for count in (0, 50))
    unused = (256 * 256 + 80 * 256) * 28 * 28
    assert ((with_fifty - without) / 50 + unused) / 1e9 == pytest.approx(1.0855, abs=5e-4)
    assert without == flops(published(system=mask_rcnn), 800, 1152, 1000, 0), "the rest is Mask R-CNN"


def test_boundary_of_everything_is_the_ring_and_of_nothing_nothing() -> None:
    ring = torch.ones(28, 28)
    ring[1:-1, 1:-1] = 0
    assert torch.equal(inner_boundary(torch.ones(1, 28, 28))[0], ring)
    assert not inner_boundary(torch.zeros(1, 28, 28)).any()
    assert inner_boundary(torch.zeros(0, 28, 28)).shape == (0, 28, 28)


def test_boundary_is_the_published_laplacian_above_a_tenth() -> None:
    masks = (torch.rand(20, 28, 28, generator=torch.Generator().manual_seed(0)) > 0.2).float()
    kernel = torch.full((1, 1, 3, 3), -1.0)
    kernel[0, 0, 1, 1] = 8
    expected = (F.conv2d(masks[:, None], kernel, padding=1)[:, 0].clamp(min=0) > 0.1).float()
    assert 0.1 < expected.mean() < 0.9 * masks.mean()
    assert torch.equal(inner_boundary(masks), expected)


def test_diagonal_neighbours_make_a_boundary() -> None:
    mask = torch.ones(1, 5, 5)
    mask[0, 0, 0] = 0
    assert inner_boundary(mask)[0, 1, 1] == 1 and inner_boundary(mask)[0, 2, 2] == 0


def test_the_head_equals_the_steps_written_out() -> None:
    torch.manual_seed(0)
    head = BoundaryPreservingHead(4, outputs=3)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    given, fine = torch.randn(2, 4, 14, 14), torch.randn(2, 4, 28, 28)
    mask = given
    for conv in (head.mask_convs[0], head.mask_convs[2], head.mask_convs[4], head.mask_convs[6]):
        mask = F.conv2d(mask, conv.weight, conv.bias, padding=1).relu()
    boundary = F.conv2d(fine, head.boundary_down.weight, head.boundary_down.bias, stride=2, padding=1).relu()
    boundary = boundary + head.mask_to_boundary(mask).relu()
    for conv in (head.boundary_convs[0], head.boundary_convs[2]):
        boundary = F.conv2d(boundary, conv.weight, conv.bias, padding=1).relu()
    mask = head.mask_final(head.boundary_to_mask(boundary).relu() + mask).relu()
    expected = head.mask_predictor(head.mask_upsample(mask).relu())
    edges = head.boundary_predictor(head.boundary_upsample(boundary).relu())
    found = head(given, fine)
    assert found[0].shape == found[1].shape == (2, 3, 28, 28)
    torch.testing.assert_close(found, (expected, edges))


def test_the_boundary_reads_p2_alone_and_the_mask_its_own_level(branch, features) -> None:
    boxes = [torch.tensor([[0.0, 0.0, 120.0, 120.0], [10.0, 10.0, 30.0, 40.0]])]
    mask, boundary = branch._both(features, boxes)
    assert mask.shape == (2, 4, 14, 14) and boundary.shape == (2, 4, 28, 28)
    other = [features[0], *(torch.randn_like(level) for level in features[1:])]
    assert torch.equal(branch._both(other, boxes)[1], boundary)
    assert not torch.equal(branch._both(other, boxes)[0][0], mask[0]), "120 px are read from P3"
    assert torch.equal(branch._both(other, boxes)[0][1], mask[1])


def test_losses_are_those_of_a_plain_loop(branch, features) -> None:
    mask = torch.zeros(1, 128, 128, dtype=torch.uint8)
    mask[0, 20:90, 30:70] = 1
    positives = Samples(
        boxes=[torch.tensor([[30.0, 20.0, 70.0, 90.0], [20.0, 10.0, 76.0, 66.0]])],
        labels=[torch.tensor([1, 2])],
        matched=[torch.tensor([0, 0])],
        ground_truth=[torch.zeros(2, dtype=torch.bool)],
    )
    targets = [{"masks": mask, "to_original": (1.0, 1.0)}]
    found = branch.losses(features, positives, targets)
    logits, boundary = branch.head(*branch._both(features, positives.boxes))
    wanted = branch.mask_targets(positives, targets, size=28)
    assert wanted[0].all() and 0 < wanted[1].mean() < 1
    expected = dict.fromkeys(found, 0.0)
    for row, label in enumerate((1, 2)):
        edges = inner_boundary(wanted[row : row + 1])[0]
        p = boundary[row, label - 1].sigmoid()
        expected["loss_mask"] += F.binary_cross_entropy(logits[row, label - 1].sigmoid(), wanted[row]) / 2
        expected["loss_boundary"] += F.binary_cross_entropy(p, edges) / 2
        dice = 1 - (2 * (p * edges).sum() + 1) / (p.sum() + edges.sum() + 1)
        expected["loss_boundary_dice"] += dice / 2
    torch.testing.assert_close(found, expected)


def test_without_boxes_nothing_is_lost_and_nothing_found(branch, features) -> None:
    nothing = torch.zeros(0, dtype=torch.long)
    none = Samples([torch.zeros(0, 4)], [nothing], [nothing], [nothing.bool()])
    losses = branch.losses(features, none, [{"masks": torch.zeros(0, 128, 128), "to_original": (1.0, 1.0)}])
    assert {name: loss.item() for name, loss in losses.items()} == dict.fromkeys(losses, 0.0) and len(losses) == 3
    (found,) = branch.inference(features, [{"boxes": torch.zeros(0, 4), "labels": nothing}])
    assert len(found["masks"]) == 0


def test_inference_draws_the_masks_that_training_learns(branch, features) -> None:
    boxes, labels = torch.tensor([[0.0, 0.0, 120.0, 120.0], [10.0, 10.0, 30.0, 40.0]]), torch.tensor([2, 1])
    with torch.no_grad():
        (found,) = branch.inference(features, [{"boxes": boxes, "labels": labels}])
        logits, _ = branch.head(*branch._both(features, [boxes]))
    torch.testing.assert_close(found["masks"], logits[[0, 1], labels - 1].sigmoid())
