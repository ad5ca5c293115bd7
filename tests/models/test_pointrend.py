"""PointRend: counts, cost, sampling at points, adaptive subdivision, and the detector around it."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import roi_align

from reprolib.evaluation.cost import count_parameters, flops, on_meta
from reprolib.models.input_transform import InputSize
from reprolib.models.layers.point_sampling import (
    PointGridPooler,
    regular_grid,
    sample_boxes,
    sample_pixels,
    uncertain_points,
)
from reprolib.models.systems.mask_rcnn import model as mask_rcnn
from reprolib.models.systems.pointrend import model as pointrend
from reprolib.models.systems.pointrend import point_rend_branch as branch_module
from reprolib.models.systems.pointrend.point_head import CoarseHead, PointHead
from reprolib.models.systems.pointrend.point_rend_branch import PointRendBranch, point_labels, point_rend_branch
from reprolib.models.two_stage.samples import Samples
from reprolib.params import Scale


def published(backbone="resnet50", num_classes=80, dialect="d2", system=pointrend):
    return on_meta(
        lambda: system.build(
            num_classes=num_classes, backbone=backbone, scale=Scale(), input_size=InputSize(), dialect=dialect
        )
    )


@pytest.fixture
def thin(thin_scale, input_size):
    def build(*, seed=0, num_classes=2, scale=thin_scale, **switches):
        torch.manual_seed(seed)
        return pointrend.build(
            num_classes=num_classes, backbone="resnet50", scale=scale, input_size=input_size, **switches
        )

    return build


# What it costs


@pytest.mark.parametrize(
    ("dialect", "backbone", "num_classes", "total"),
    [
        ("mm", "resnet50", 80, 60_214_912),
        ("mm", "resnet50", 1, 55_754_888),
        ("mm", "resnet101", 80, 79_207_040),
        ("mm", "resnet101", 1, 74_747_016),
        ("d2", "resnet50", 80, 60_161_792),  # IEMask, Table 8: 60.2 M
    ],
)
def test_published_parameter_counts(dialect, backbone, num_classes, total) -> None:
    assert count_parameters(published(backbone, num_classes, dialect))["params"] == total


@pytest.mark.parametrize(("num_classes", "coarse", "point"), [(80, 18_176_080, 285_776), (1, 14_208_305, 198_402)])
def test_parameters_of_the_heads(num_classes, coarse, point) -> None:
    branch = on_meta(lambda: point_rend_branch(num_classes=num_classes, scale=Scale(), dialect="d2"))
    assert count_parameters(branch.head)["params"] == coarse
    assert count_parameters(branch.point_head)["params"] == point


def test_multiply_adds_per_detection() -> None:
    model = published()
    without, with_fifty = (flops(model, 800, 1152, 1000, count) for count in (0, 50))
    assert (with_fifty - without) / 50e9 == pytest.approx(0.924, abs=5e-4)
    plain = published(system=mask_rcnn)
    assert without == flops(plain, 800, 1152, 1000, 0), "the rest is Mask R-CNN"


# Sampling


def test_regular_grid_holds_cell_centres_row_by_row() -> None:
    assert regular_grid(2).tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]


def test_pooler_is_roi_align_with_one_sample_per_bin() -> None:
    torch.manual_seed(0)
    feature = torch.randn(3, 4, 20, 24)
    boxes = [torch.tensor([[10.0, 8.0, 50.5, 61.0], [4.0, 30.0, 90.0, 44.0]]), torch.zeros(0, 4)]
    boxes.append(torch.tensor([[3.0, 3.0, 17.0, 13.0]]))
    expected = roi_align(feature, boxes, 14, 1 / 4, 1, True)
    torch.testing.assert_close(PointGridPooler(resolution=14)([feature], boxes), expected, atol=1e-5, rtol=1e-5)


def test_points_of_boxes_read_the_image_of_their_box() -> None:
    """A map that holds its own coordinates tells where it was read."""
    y, x = torch.meshgrid((torch.arange(16) + 0.5) * 4, (torch.arange(16) + 0.5) * 4, indexing="ij")
    feature = torch.stack([torch.stack([x, y, torch.full_like(x, image)]) for image in range(2)])
    boxes = [torch.tensor([[10.0, 20.0, 30.0, 60.0]]), torch.tensor([[8.0, 8.0, 24.0, 12.0]])]
    points = torch.tensor([[[0.0, 0.0], [0.5, 0.25]], [[1.0, 0.5], [0.25, 1.0]]])
    read = sample_boxes(feature, boxes, points, stride=4)
    expected = [[[10.0, 20.0], [20.0, 30.0], [0.0, 0.0]], [[24.0, 12.0], [10.0, 12.0], [1.0, 1.0]]]
    torch.testing.assert_close(read[0], torch.tensor(expected[0]))
    torch.testing.assert_close(read[1], torch.tensor(expected[1]))


def test_sample_pixels_equals_sampling_a_copy_of_each_map() -> None:
    torch.manual_seed(0)
    masks = torch.rand(3, 11, 17) > 0.5
    index = torch.tensor([2, 0, 0, 1])
    points = torch.rand(4, 50, 2) * torch.tensor([19.0, 13.0]) - 1  # some outside
    places = 2 * points / torch.tensor([17.0, 11.0]) - 1
    expected = F.grid_sample(masks[index][:, None].float(), places[:, None], align_corners=False)[:, 0, 0]
    assert sample_pixels(masks, index, points).dtype == torch.float32
    torch.testing.assert_close(sample_pixels(masks, index, points), expected, atol=1e-5, rtol=0)
    assert sample_pixels(masks[:0], index[:0], points[:0]).shape == (0, 50)


def test_uncertain_points_lie_where_the_interpolated_logit_is_near_zero() -> None:
    torch.manual_seed(0)
    logits = torch.tensor([-4.0, -1.0, 1.0, 4.0]).expand(5, 7, 4)
    points = uncertain_points(logits, 196)
    assert points.shape == (5, 196, 2) and (points >= 0).all() and (points < 1).all()
    distance = (points[..., 0] - 0.5).abs()
    assert distance[:, :147].max() < 0.25, "147 = 75% of 196 are near the zero at x = 0.5"
    assert (distance[:, 147:].max(1).values > 0.4).all(), "49 are uniform"
    assert (points[:, :147, 1].std(1) > 0.2).all(), "along the zero they are spread"
    torch.manual_seed(0)
    assert torch.equal(uncertain_points(logits, 196), points)
    # All cells between -1 and +1 are equally certain; what lies between them is not.
    many = uncertain_points(logits, 196, oversample=30)[:, :147, 0]
    assert (many - 0.5).abs().max() < 0.03


# Labels and losses


def test_point_labels_are_bilinear_in_the_mask_of_the_original_size() -> None:
    masks = torch.zeros(2, 40, 80, dtype=torch.uint8)
    masks[1, 10:20, 30:50] = 1  # in batch pixels: x 15 to 25, y 20 to 40
    target = {"masks": masks, "to_original": (2.0, 0.5)}
    positives = Samples(
        boxes=[torch.zeros(0, 4), torch.tensor([[10.0, 20.0, 30.0, 60.0]])],
        labels=[torch.zeros(0).long(), torch.ones(1).long()],
        matched=[torch.zeros(0).long(), torch.ones(1).long()],
        ground_truth=[],
    )
    # Original pixels: x = 20 + 40 px, y = 10 + 20 py.
    points = torch.tensor([[[0.5, 0.25], [0.25, 0.25], [0.2625, 0.25], [0.25, 0.5], [0.9, 0.25]]])
    empty = {"masks": masks[:0], "to_original": (1.0, 1.0)}
    labels = point_labels(points, positives, [empty, target])
    torch.testing.assert_close(labels, torch.tensor([[1.0, 0.5, 1.0, 0.25, 0.0]]))


def test_point_loss_trains_the_coarse_head_through_its_logits_and_not_the_boxes(thin, scene) -> None:
    model = thin().train()
    image, target = scene()
    losses = model([image], [target])
    losses["loss_mask_point"].backward()
    branch = model.roi_heads.mask_branch
    assert branch.head.fc1.weight.grad.abs().sum() > 0
    assert branch.point_head.layers[0].weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in model.roi_heads.box_stage.parameters())
    assert all(p.grad is None for p in model.rpn.parameters())


@pytest.mark.parametrize(
    ("switches", "moved"),
    [
        ({"dialect": "d2"}, True),
        ({"dialect": "mm"}, False),
        ({"dialect": "d2", "mask_on_pred_boxes": False}, False),
        ({"dialect": "mm", "mask_on_pred_boxes": True}, True),
    ],
)
def test_masks_train_on_predicted_boxes_in_d2(switches, moved, thin, scene, monkeypatch) -> None:
    model = thin(**switches).train()
    with torch.no_grad():
        model.roi_heads.box_stage.predictor.bbox_pred.weight.zero_()
        model.roi_heads.box_stage.predictor.bbox_pred.bias.copy_(torch.tensor([0.0, 0.0, -2.0, -2.0] * 2))
    seen = {}
    original = model.roi_heads.mask_branch.losses

    def losses(features, positives, targets):
        seen["boxes"] = torch.cat(positives.boxes)
        seen["given"] = torch.cat(positives.ground_truth)
        return original(features, positives, targets)

    monkeypatch.setattr(model.roi_heads.mask_branch, "losses", losses)
    image, target = scene()
    model([image], [target])
    expected = target["boxes"]
    if moved:  # width and height times exp(-2 / 5), about the centre
        centre, size = (expected[:, :2] + expected[:, 2:]) / 2, (expected[:, 2:] - expected[:, :2]) * 0.67032
        expected = torch.cat([centre - size / 2, centre + size / 2], dim=1)
    torch.testing.assert_close(seen["boxes"][seen["given"]], expected, atol=1e-2, rtol=0)


# Inference: a point head that knows a circle


class Circle(nn.Module):
    """Reads positions off the feature map; the first class is the disc, the second what is around it."""

    def __init__(self, centre: tuple[float, float], radius: float, *, hard: bool) -> None:
        super().__init__()
        self.centre, self.radius, self.hard = torch.tensor(centre), radius, hard
        self.asked = []

    def inside(self, places):
        """places [...,2] px -> px to the circle, positive inside."""
        return self.radius - (places - self.centre).norm(dim=-1)

    def forward(self, fine, coarse):
        places = fine.transpose(1, 2)
        self.asked.append(places)
        logit = self.inside(places)
        logit = 10 * logit.sign() if self.hard else logit
        return torch.stack([logit, -logit], dim=1)


def draw(circle: Circle, boxes: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    y, x = torch.meshgrid((torch.arange(120) + 0.5) * 4, (torch.arange(120) + 0.5) * 4, indexing="ij")
    coarse = nn.Sequential(nn.Flatten(), nn.LazyLinear(2 * 49), nn.Unflatten(1, (2, 7, 7)))
    branch = PointRendBranch(pooler=PointGridPooler(resolution=14), head=coarse, point_head=circle)
    with torch.no_grad():
        (found,) = branch.inference([torch.stack([x, y])[None]], [{"boxes": boxes, "labels": labels}])
    return found["masks"]


def centres(box: torch.Tensor, side: int) -> torch.Tensor:
    return (box[:2] + regular_grid(side) * (box[2:] - box[:2])).view(side, side, 2)


@pytest.mark.parametrize("hard", [False, True])
def test_a_perfect_point_head_draws_a_circle_to_less_than_a_pixel(hard) -> None:
    torch.manual_seed(0)
    circle = Circle((163.3, 191.7), 80.0, hard=hard)
    boxes = torch.tensor([[50.0, 80.0, 274.0, 304.0]] * 2)  # 224 px: a cell of the result is a pixel
    masks = draw(circle, boxes, torch.tensor([1, 2]))
    assert masks.shape == (2, 224, 224)
    distance = circle.inside(centres(boxes[0], 224))
    for mask, wanted in zip(masks, (distance, -distance), strict=True):
        wrong = (mask > 0.5) != (wanted > 0)
        assert not wrong.any() or distance[wrong].abs().max() < 1
    if hard:  # the first grid alone cannot do it
        coarse = 10 * circle.inside(centres(boxes[0], 28)).sign()
        resized = F.interpolate(coarse[None, None], size=224, mode="bilinear", align_corners=False)[0, 0]
        assert distance[(resized > 0) != (distance > 0)].abs().max() > 2


def test_subdivision_starts_at_28_and_asks_on_the_circle_three_times() -> None:
    torch.manual_seed(0)
    circle = Circle((163.3, 191.7), 80.0, hard=False)
    box = torch.tensor([50.0, 80.0, 274.0, 304.0])
    draw(circle, box[None], torch.tensor([1]))
    assert [tuple(asked.shape) for asked in circle.asked] == [(1, 784, 2)] * 4
    torch.testing.assert_close(circle.asked[0][0], centres(box, 28).flatten(0, 1), atol=1e-3, rtol=0)
    for asked, side in zip(circle.asked[1:], (56, 112, 224), strict=True):
        cells = (asked[0] - box[:2]) / 224 * side - 0.5
        torch.testing.assert_close(cells, cells.round(), atol=1e-2, rtol=0)
        assert len(cells.round().unique(dim=0)) == 784
        # 784 cells along a circle of 503 px: a band of 784 (224 / side)^2 / 503 px.
        assert circle.inside(asked).abs().max() < 0.6 * 784 * (224 / side) ** 2 / 503


def test_coarse_logits_reach_the_point_head_at_the_points() -> None:
    """A point head that passes the coarse logits on gives the coarse map, bilinearly."""

    class Coarse(nn.Module):
        def forward(self, x):
            return torch.linspace(-3, 3, 49, dtype=x.dtype).view(1, 1, 7, 7).expand(len(x), 1, 7, 7)

    class Pass(nn.Module):
        def forward(self, fine, coarse):
            return coarse

    branch = PointRendBranch(pooler=PointGridPooler(resolution=14), head=Coarse(), point_head=Pass())
    found = [{"boxes": torch.tensor([[4.0, 4.0, 20.0, 20.0]]), "labels": torch.tensor([3])}]
    (one,) = branch.inference([torch.zeros(1, 1, 8, 8)], found)
    logits = one["masks"].logit()[0]
    # At 224 the centre of a coarse cell lies between pixels 32 i + 15 and 32 i + 16.
    middle = [logits[32 * i + 15 : 32 * i + 17, 32 * i + 15 : 32 * i + 17].mean().item() for i in range(1, 6)]
    assert middle == pytest.approx([-3 + 6 * (8 * i) / 48 for i in range(1, 6)], abs=0.02)


# The detector


@pytest.mark.parametrize("dialect", ["d2", "mm", "torchvision"])
def test_a_training_step_reaches_every_parameter(dialect, thin, scene, thin_scale) -> None:
    model = thin(dialect=dialect, scale=dataclasses.replace(thin_scale, norm="published")).train()
    samples = [scene(seed=1), scene(48, 64, seed=2)]
    losses = model([s[0] for s in samples], [s[1] for s in samples])
    assert set(losses) == {
        "loss_objectness",
        "loss_rpn_box_reg",
        "loss_classifier",
        "loss_box_reg",
        "loss_mask",
        "loss_mask_point",
    }
    assert all(torch.isfinite(loss) and loss > 0 for loss in losses.values())
    sum(losses.values()).backward()
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert all(p.grad.abs().sum() > 0 for p in model.roi_heads.mask_branch.parameters())


def test_inference_keeps_the_contract_and_does_without_detections(thin, scene, thin_scale) -> None:
    images = [scene(48, 80)[0], scene()[0]]
    for threshold in (0.05, 1.0):
        model = thin(scale=dataclasses.replace(thin_scale, score_threshold=threshold)).eval()
        with torch.no_grad():
            found = model(images)
        for one, size in zip(found, [(48, 80), (64, 64)], strict=True):
            count = len(one["boxes"])
            assert (count == 0) == (threshold == 1.0)
            assert one["masks"].shape == (count, *size) and one["masks"].dtype == torch.bool


def test_one_image_without_detections_beside_one_with(thin_scale) -> None:
    torch.manual_seed(0)
    branch = point_rend_branch(num_classes=2, scale=thin_scale, dialect="d2").eval()
    boxes, labels = torch.tensor([[4.0, 4.0, 40.0, 30.0]]), torch.tensor([2])
    found = [
        {"boxes": boxes[:0], "labels": labels[:0]},
        {"boxes": boxes, "labels": labels},
    ]
    features = [torch.randn(2, 32, 16, 16)]
    with torch.no_grad():
        none, one = branch.inference(features, found)
        (alone,) = branch.inference([features[0][1:]], found[1:])
    assert none["masks"].shape == (0, 224, 224)
    torch.testing.assert_close(one["masks"], alone["masks"])


def test_images_without_instances_train(thin, scene) -> None:
    model = thin().train()
    empty = scene(count=0)
    for samples in ([empty], [empty, scene(seed=3)]):
        losses = model([s[0] for s in samples], [s[1] for s in samples])
        assert all(torch.isfinite(loss) for loss in losses.values())
        sum(losses.values()).backward()
    losses = model([empty[0]], [empty[1]])
    assert losses["loss_mask"] == losses["loss_mask_point"] == 0


def test_losses_under_autocast_are_float32_and_close(thin, scene) -> None:
    model = thin().train()
    image, target = scene()
    torch.manual_seed(0)
    expected = model([image], [target])
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        losses = model([image], [target])
    for name, loss in losses.items():
        assert loss.dtype == torch.float32
        assert abs(loss - expected[name]) < 0.1, name


def test_points_teach_the_branch_a_disc_that_the_coarse_mask_cannot_draw() -> None:
    """Boxes over a feature map that shows a disc: after training, the 224 mask follows it."""
    torch.manual_seed(0)
    rows, columns = torch.arange(128)[:, None] + 0.5, torch.arange(128)[None] + 0.5
    mask = (columns - 66) ** 2 + (rows - 60) ** 2 < 40**2
    shown = F.avg_pool2d(mask[None, None].float(), 4)
    features = [torch.cat([shown, torch.randn(1, 7, 32, 32)], dim=1)]
    box = torch.tensor([[16.0, 10.0, 116.0, 110.0]])
    positives = Samples(
        [box.expand(8, 4)], [torch.ones(8).long()], [torch.zeros(8).long()], [torch.zeros(8, dtype=torch.bool)]
    )
    targets = [{"masks": mask[None], "to_original": (1.0, 1.0)}]
    branch = PointRendBranch(
        pooler=PointGridPooler(resolution=14),
        head=CoarseHead(8, hidden=16, outputs=1),
        point_head=PointHead(8, outputs=1),
    )
    optimiser = torch.optim.AdamW(branch.parameters(), lr=1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        sum(branch.losses(features, positives, targets).values()).backward()
        optimiser.step()
    with torch.no_grad():
        (found,) = branch.inference(features, [{"boxes": box, "labels": torch.ones(1).long()}])
    distance = 40 - (centres(box[0], 224) - torch.tensor([66.0, 60.0])).norm(dim=-1)
    wrong = (found["masks"][0] > 0.5) != (distance > 0)
    coarse_cell = 100 / 7
    assert wrong.float().mean() < 0.01
    assert distance[wrong].abs().max() < coarse_cell / 3


def test_unknown_dialects_are_refused(thin) -> None:
    with pytest.raises(ValueError, match="known are d2, mm, torchvision"):
        thin(dialect="paddle")


def test_constants_are_those_of_the_paper() -> None:
    """Nominally 7 and 5 steps: doubling while all pixels would be evaluated anyway gives the first side."""
    side, steps = 7, 5
    while 4 * side**2 <= branch_module.STEP_POINTS:
        side, steps = 2 * side, steps - 1
    assert (side, steps) == (branch_module.FIRST_SIDE, branch_module.STEPS)
    assert branch_module.FIRST_SIDE**2 == branch_module.STEP_POINTS
