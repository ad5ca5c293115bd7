"""Mask Scoring R-CNN: counts, cost, the MaskIoU target, who learns from it, and the scores of masks."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from reprolib.evaluation.cost import count_parameters, flops, on_meta
from reprolib.models.input_transform import InputSize
from reprolib.models.systems.mask_rcnn import model as mask_rcnn
from reprolib.models.systems.mask_scoring_rcnn import model as mask_scoring_rcnn
from reprolib.models.two_stage import mask_iou_head
from reprolib.models.two_stage.mask_iou_head import (
    MaskIoUHead,
    mask_iou_loss,
    mask_iou_targets,
    visible_share,
)
from reprolib.models.two_stage.mask_scoring_branch import visible_shares
from reprolib.models.two_stage.mask_targets import cut_masks
from reprolib.models.two_stage.samples import Samples
from reprolib.params import Scale


def published(backbone="resnet50", num_classes=80, dialect="mm", system=mask_scoring_rcnn, **switches):
    return on_meta(
        lambda: system.build(
            num_classes=num_classes,
            backbone=backbone,
            scale=Scale(),
            input_size=InputSize(),
            dialect=dialect,
            **switches,
        )
    )


@pytest.fixture
def thin(thin_scale, input_size):
    def build(*, seed=0, num_classes=2, scale=thin_scale, system=mask_scoring_rcnn, **switches):
        torch.manual_seed(seed)
        return system.build(
            num_classes=num_classes, backbone="resnet50", scale=scale, input_size=input_size, **switches
        )

    return build


# What it costs


@pytest.mark.parametrize(
    ("dialect", "backbone", "num_classes", "total"),
    [
        ("mm", "resnet50", 80, 60_736_640),
        ("mm", "resnet50", 1, 60_230_487),
        ("mm", "resnet101", 80, 79_728_768),
        ("mm", "resnet101", 1, 79_222_615),
        ("d2", "resnet50", 80, 60_683_520),
    ],
)
def test_published_parameter_counts(dialect, backbone, num_classes, total) -> None:
    assert count_parameters(published(backbone, num_classes, dialect))["params"] == total


@pytest.mark.parametrize(("num_classes", "total"), [(80, 16_340_304), (1, 16_259_329)])
def test_parameters_of_the_head(num_classes, total) -> None:
    head = published(num_classes=num_classes).roi_heads.mask_branch.iou_head
    assert count_parameters(head)["params"] == total


def test_background_channels_are_counted_in_boxes_masks_and_their_iou() -> None:
    """SEANet counts 81-way heads; the authors' MaskIoU head has 81 outputs too."""
    model = published("resnet101", background_channels=True)
    assert count_parameters(model)["params"] == 79_728_768 + 4 * 1025 + 257 + 1025


def test_multiply_adds_per_detection() -> None:
    ours, plain = (
        (flops(model, 800, 1152, 1000, 50) - flops(model, 800, 1152, 1000, 0)) / 50e9
        for model in (published(), published(system=mask_rcnn))
    )
    assert ours - plain == pytest.approx(0.390, abs=5e-4)


# The target


BOX = torch.tensor([[8.0, 4.0, 36.0, 32.0]])  # 28 px: a cell of the target is a pixel


def whole_and_part(columns: int):
    """A 10 x 20 px rectangle of which the box BOX, moved to the right, leaves `columns` columns outside."""
    mask = torch.zeros(1, 40, 80, dtype=torch.uint8)
    mask[0, 10:20, 12:32] = 1
    box = BOX + torch.tensor([4.0 + columns, 0.0, 4.0 + columns, 0.0])
    matched = torch.zeros(1).long()
    wanted = cut_masks(mask, box, matched, size=28, aligned=True, binary=True)
    return wanted, visible_share(mask, box, matched)


def test_target_is_1_for_the_whole_object() -> None:
    wanted, share = whole_and_part(0)
    assert share.tolist() == [1.0]
    assert mask_iou_targets(wanted > 0, wanted, share).tolist() == [1.0]


@pytest.mark.parametrize("columns", [5, 15])
def test_target_is_the_visible_share_for_a_box_that_cuts_the_object(columns) -> None:
    wanted, share = whole_and_part(columns)
    assert share.tolist() == pytest.approx([1 - columns / 20])
    assert mask_iou_targets(wanted > 0, wanted, share).tolist() == pytest.approx([1 - columns / 20])


def test_target_by_hand() -> None:
    """Object of 200 px, 150 in the box; the prediction has 120 of them and 30 beside."""
    wanted, share = whole_and_part(5)
    rows, columns = torch.where(wanted[0] > 0)
    assert len(rows) == 150
    predicted = torch.zeros_like(wanted, dtype=torch.bool)
    predicted[0, rows[:120], columns[:120]] = True
    predicted[0, 25, :28] = predicted[0, 26, :2] = True
    assert mask_iou_targets(predicted, wanted, share).tolist() == pytest.approx([120 / (150 + 200 - 120)])


def test_target_without_any_overlap_is_0() -> None:
    wanted, share = whole_and_part(5)
    nothing = torch.zeros_like(wanted)
    assert mask_iou_targets(nothing > 0, wanted, share).tolist() == [0.0]
    assert mask_iou_targets(wanted > 0, nothing, torch.zeros(1)).tolist() == [0.0]
    assert mask_iou_targets(nothing > 0, nothing, torch.zeros(1)).tolist() == [0.0]


@pytest.mark.parametrize("pixels", [1 << 26, 1])
def test_visible_share_equals_the_area_pixel_by_pixel(pixels, monkeypatch) -> None:
    monkeypatch.setattr(mask_iou_head, "CHUNK", pixels)
    torch.manual_seed(0)
    masks = torch.rand(4, 13, 17) > 0.6
    masks[3] = False
    low = torch.rand(40, 2) * torch.tensor([18.0, 14.0]) - 2
    boxes = torch.cat([low, low + torch.rand(40, 2) * 12], dim=1)
    matched = torch.randint(4, (40,))

    def covered(start, end, count):
        edges = torch.arange(count)
        return (torch.minimum(end[:, None], edges + 1) - torch.maximum(start[:, None], edges)).clamp(min=0)

    across, down = covered(boxes[:, 0], boxes[:, 2], 17), covered(boxes[:, 1], boxes[:, 3], 13)
    inside = torch.einsum("rh,rhw,rw->r", down, masks[matched].float(), across)
    expected = inside / masks[matched].sum((1, 2)).clamp(min=1)
    torch.testing.assert_close(visible_share(masks, boxes, matched), expected, atol=1e-5, rtol=0)


def test_shares_are_measured_in_the_original_image() -> None:
    mask = torch.zeros(1, 40, 80, dtype=torch.uint8)
    mask[0, 10:30, 20:60] = 1  # in batch pixels: x 10 to 30, y 20 to 60
    none = torch.zeros(0).long()
    positives = Samples(
        boxes=[torch.zeros(0, 4), torch.tensor([[10.0, 20.0, 20.0, 60.0], [0.0, 50.0, 40.0, 90.0]])],
        labels=[none, torch.ones(2).long()],
        matched=[none, torch.zeros(2).long()],
        ground_truth=[],
    )
    targets = [{"masks": mask[:0], "to_original": (1.0, 1.0)}, {"masks": mask, "to_original": (2.0, 0.5)}]
    assert visible_shares(positives, targets).tolist() == pytest.approx([0.5, 0.25])


def test_loss_leaves_out_what_does_not_overlap() -> None:
    predicted = torch.tensor([0.9, 0.2, 0.4], requires_grad=True)
    loss = mask_iou_loss(predicted, torch.tensor([0.5, 0.0, 0.6]))
    assert loss.item() == pytest.approx(0.5 * (0.16 + 0.04) / 2)
    loss.backward()
    assert predicted.grad.tolist() == pytest.approx([0.2, 0.0, -0.1])
    nothing = mask_iou_loss(predicted, torch.zeros(3))
    assert nothing == 0 and nothing.requires_grad


# The head and who learns from it


def test_head_sees_the_strongest_of_four_mask_pixels() -> None:
    torch.manual_seed(0)
    head = MaskIoUHead(8, hidden=16, outputs=3)
    features, masks = torch.randn(2, 8, 14, 14), torch.rand(2, 28, 28)
    seen = []
    head.convs[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    assert head(features, masks).shape == (2, 3)
    assert torch.equal(seen[0][:, :8], features)
    assert torch.equal(seen[0][:, 8], masks.view(2, 14, 2, 14, 2).amax((2, 4)))


@pytest.mark.parametrize("detached", [False, True])
def test_iou_loss_trains_the_mask_head_unless_detached(detached, thin, scene) -> None:
    model = thin(maskiou_detach=detached).train()
    branch = model.roi_heads.mask_branch
    with torch.no_grad():  # at the start nothing may overlap
        branch.head.predictor.bias.fill_(1.0)
    image, target = scene()
    model([image], [target])["loss_mask_iou"].backward()
    assert all(p.grad.abs().sum() > 0 for p in branch.iou_head.parameters() if p.ndim > 1)
    others = [*branch.head.parameters(), *model.backbone.parameters(), *model.neck.parameters()]
    reached = [p for p in others if p.requires_grad and p.grad is not None and p.grad.abs().sum() > 0]
    assert bool(reached) == (not detached)
    assert (branch.head.convs[0].weight.grad is not None) == (not detached)


@pytest.mark.parametrize(
    "switches",
    [{"dialect": "mm"}, {"dialect": "d2"}, {"dialect": "torchvision"}, {"background_channels": True}],
    ids=str,
)
def test_a_training_step_reaches_every_parameter(switches, thin, scene, thin_scale) -> None:
    model = thin(scale=dataclasses.replace(thin_scale, norm="published"), **switches).train()
    with torch.no_grad():
        model.roi_heads.mask_branch.head.predictor.bias.fill_(1.0)
    samples = [scene(seed=1), scene(48, 64, seed=2)]
    losses = model([s[0] for s in samples], [s[1] for s in samples])
    assert set(losses) == {
        "loss_objectness",
        "loss_rpn_box_reg",
        "loss_classifier",
        "loss_box_reg",
        "loss_mask",
        "loss_mask_iou",
    }
    assert losses["loss_mask_iou"] > 0
    sum(losses.values()).backward()
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert all(p.grad.abs().sum() > 0 for p in model.roi_heads.mask_branch.parameters() if p.ndim > 1)


def test_images_without_instances_train(thin, scene) -> None:
    model = thin().train()
    empty = scene(count=0)
    for samples in ([empty], [empty, scene(seed=3)]):
        losses = model([s[0] for s in samples], [s[1] for s in samples])
        assert all(torch.isfinite(loss) for loss in losses.values())
        sum(losses.values()).backward()
    losses = model([empty[0]], [empty[1]])
    assert losses["loss_mask"] == losses["loss_mask_iou"] == 0


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


# Scores


def always(model, *values: float) -> None:
    """Make the head predict these IoU, whatever it sees."""
    predictor = model.roi_heads.mask_branch.iou_head.predictor
    with torch.no_grad():
        predictor.weight.zero_()
        predictor.bias.copy_(torch.tensor(values))


def test_all_but_the_mask_scores_are_those_of_mask_rcnn(thin, scene) -> None:
    ours, plain = thin().eval(), thin(system=mask_rcnn, dialect="mm", seed=1).eval()
    missing, unexpected = plain.load_state_dict(ours.state_dict(), strict=False)
    assert not missing and all("iou_head" in name for name in unexpected)
    images = [scene()[0], scene(48, 80)[0]]
    with torch.no_grad():
        for one, other in zip(ours(images), plain(images), strict=True):
            assert len(one["boxes"])
            assert one.keys() - other.keys() == {"mask_scores"}
            assert all(torch.equal(one[key], other[key]) for key in other)
            assert one["mask_scores"].shape == one["scores"].shape
            assert (one["mask_scores"] <= one["scores"]).all() and (one["mask_scores"] >= 0).all()


@pytest.mark.parametrize("background", [False, True])
def test_mask_score_is_the_score_times_the_iou_of_the_class(background, thin, scene) -> None:
    model = thin(background_channels=background).eval()
    always(model, *([9.0] if background else []), 0.25, 0.75)
    with torch.no_grad():
        (found,) = model([scene()[0]])
    assert set(found["labels"].tolist()) == {1, 2}
    expected = torch.tensor([0.25, 0.75])[found["labels"] - 1] * found["scores"]
    torch.testing.assert_close(found["mask_scores"], expected)


def test_predicted_iou_is_clamped_unless_switched_off(thin, scene) -> None:
    factors = {}
    for clamped in (True, False):
        model = thin(clamp_iou=clamped).eval()
        always(model, -0.5, 3.0)
        with torch.no_grad():
            (found,) = model([scene()[0]])
        ratio = found["mask_scores"] / found["scores"]
        factors[clamped] = [round(ratio[found["labels"] == label].mean().item(), 4) for label in (1, 2)]
    assert factors == {True: [0.0, 1.0], False: [-0.5, 3.0]}


def test_no_detections_have_no_mask_scores(thin, scene, thin_scale) -> None:
    model = thin(scale=dataclasses.replace(thin_scale, score_threshold=1.0)).eval()
    with torch.no_grad():
        found = model([scene(48, 80)[0], scene()[0]])
    assert [tuple(one["masks"].shape) for one in found] == [(0, 48, 80), (0, 64, 64)]
    assert [tuple(one["mask_scores"].shape) for one in found] == [(0,), (0,)]


def test_unknown_dialects_are_refused(thin) -> None:
    with pytest.raises(ValueError, match="known are d2, mm, torchvision"):
        thin(dialect="paddle")
