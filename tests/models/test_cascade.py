"""Cascade Mask R-CNN in both its forms: counts, what each stage trains on, how stages are joined."""

from __future__ import annotations

import pytest
import torch

from reprolib.models.input_transform import InputSize
from reprolib.models.systems.cascade_mask_rcnn import model as cascade_mask_rcnn
from reprolib.models.systems.cascade_mask_rcnn.cascade import CascadeHeads, ScaleGradient, cascade_heads
from reprolib.models.two_stage.box_stage import BoxStage
from reprolib.models.two_stage.samples import RoISampler
from reprolib.params import Scale


def published(**switches) -> int:
    with torch.device("meta"):
        model = cascade_mask_rcnn.build(scale=Scale(), input_size=InputSize(), **switches)
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("dialect", "cascade_dialect", "backbone", "num_classes", "total"),
    [
        ("mm", None, "resnet50", 80, 77_324_606),
        ("mm", None, "resnet50", 1, 77_020_772),
        ("mm", None, "resnet101", 80, 96_316_734),
        ("mm", None, "resnet101", 1, 96_012_900),
        ("d2", "mm", "resnet50", 80, 77_271_486),
        ("mm", "d2", "resnet50", 80, 72_038_046),
        ("mm", "d2", "resnet50", 1, 71_774_818),
        ("mm", "d2", "resnet101", 80, 91_030_174),
        ("mm", "d2", "resnet101", 1, 90_766_946),
        ("d2", None, "resnet50", 80, 71_984_926),
    ],
)
def test_published_parameter_counts(dialect, cascade_dialect, backbone, num_classes, total) -> None:
    switches = {"dialect": dialect, "cascade_dialect": cascade_dialect}
    assert published(backbone=backbone, num_classes=num_classes, **switches) == total


def small(programme: str, thin_scale: Scale, *, num_classes: int = 2) -> CascadeHeads:
    torch.manual_seed(0)
    return cascade_heads(num_classes=num_classes, scale=thin_scale, dialect=programme, programme=programme)


def inputs(*, count: int = 1):
    torch.manual_seed(1)
    features = [torch.rand(count, 32, 64 // stride, 64 // stride) for stride in (4, 8, 16, 32)]
    truth = torch.tensor([[8.0, 8.0, 40.0, 40.0], [30.0, 20.0, 60.0, 60.0]])
    masks = torch.zeros(2, 64, 64, dtype=torch.uint8)
    masks[0, 8:40, 8:40] = masks[1, 20:60, 30:60] = 1
    target = {"boxes": truth, "labels": torch.tensor([1, 2]), "masks": masks, "to_original": (1.0, 1.0)}
    proposals = (truth.repeat(30, 1) + torch.randn(60, 4) * 4).clamp(0, 64)
    return features, [proposals] * count, [(64, 64)] * count, [target] * count


def spy(heads: CascadeHeads) -> list[dict]:
    """Note every stage's samples as its losses are taken."""
    seen: list[dict] = []
    original = BoxStage.losses

    def note(stage, logits, deltas, samples, targets):
        seen.append({"stage": list(heads.box_stages).index(stage), "samples": samples})
        return original(stage, logits, deltas, samples, targets)

    for stage in heads.box_stages:
        stage.losses = note.__get__(stage)
    return seen


def test_the_stages_share_no_parameter(thin_scale) -> None:
    heads = small("mm", thin_scale)
    parameters = [{id(p) for p in stage.parameters()} for stage in heads.box_stages]
    parameters += [{id(p) for p in branch.parameters()} for branch in heads.mask_branches]
    assert sum(map(len, parameters)) == len(set.union(*parameters))
    assert [stage.box_coder.weights[0] for stage in heads.box_stages] == pytest.approx([10, 20, 1 / 0.033])


def test_mm_draws_again_in_every_stage_at_a_higher_iou(thin_scale) -> None:
    heads = small("mm", thin_scale)
    seen = spy(heads)
    features, proposals, sizes, targets = inputs()
    losses = heads(features, proposals, sizes, targets)
    assert set(losses) == {f"loss_{part}_{stage}" for part in ("classifier", "box_reg", "mask") for stage in (1, 2, 3)}
    assert [entry["stage"] for entry in seen] == [0, 1, 2]
    from torchvision.ops import box_iou

    for entry, iou in zip(seen, (0.5, 0.6, 0.7), strict=True):
        samples = entry["samples"]
        assert len(samples.boxes[0]) <= thin_scale.roi_batch
        assert (samples.labels[0] > 0).sum() <= thin_scale.roi_batch // 4
        best = box_iou(targets[0]["boxes"], samples.boxes[0]).max(0).values
        assert torch.equal(samples.labels[0] > 0, best >= iou)
        assert samples.ground_truth[0].sum() <= 2


def test_refined_boxes_leave_out_the_ground_truth_and_are_clipped(thin_scale) -> None:
    heads = small("mm", thin_scale)
    features, _, sizes, targets = inputs()
    samples = RoISampler(iou=0.5, batch=8)([torch.tensor([[50.0, 50.0, 64.0, 64.0]])], targets)
    assert samples.ground_truth[0].sum() == 2 and len(samples.boxes[0]) == 3
    last = heads.box_stages[0].predictor.bbox_pred
    torch.nn.init.zeros_(last.weight)
    with torch.no_grad():
        last.bias.copy_(torch.tensor([5.0, 0.0, 0.0, 0.0]))  # half a width to the right
    _, refined = heads.box_losses(features, None, 0, samples, sizes, targets)
    assert refined[0].tolist() == [[57.0, 50.0, 64.0, 64.0]]
    assert not refined[0].requires_grad


def test_zero_deltas_show_every_stage_the_same_boxes(thin_scale) -> None:
    heads = small("d2", thin_scale)
    for stage in heads.box_stages:
        torch.nn.init.zeros_(stage.predictor.bbox_pred.weight)
    seen = spy(heads)
    features, proposals, sizes, targets = inputs()
    heads(features, proposals, sizes, targets)
    boxes = [entry["samples"].boxes[0] for entry in seen]
    assert torch.allclose(boxes[0], boxes[1], atol=1e-4) and torch.allclose(boxes[1], boxes[2], atol=1e-4)
    positives = [int((entry["samples"].labels[0] > 0).sum()) for entry in seen]
    assert positives[0] >= positives[1] >= positives[2] > 0, "the same boxes, labelled more strictly"


def test_d2_has_one_mask_branch_on_the_first_sampling(thin_scale) -> None:
    heads = small("d2", thin_scale)
    seen, masked = spy(heads), []
    branch = heads.mask_branches[0]
    original = branch.losses
    branch.losses = lambda features, positives, targets: (
        masked.append(positives) or original(features, positives, targets)
    )
    features, proposals, sizes, targets = inputs()
    losses = heads(features, proposals, sizes, targets)
    assert len(heads.mask_branches) == 1 and "loss_mask" in losses
    assert torch.equal(masked[0].boxes[0], seen[0]["samples"].positives().boxes[0])


def test_d2_divides_the_gradient_into_the_features(thin_scale) -> None:
    x = torch.ones(3, requires_grad=True)
    (ScaleGradient.apply(x, 1 / 3) * 6).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0, 2.0]
    gradients = []
    for factor in (3, 1):
        heads = small("d2", thin_scale)
        heads.mask_branches[0].losses = lambda *inputs: {}
        features, proposals, sizes, targets = inputs()
        features[0].requires_grad_()
        torch.manual_seed(2)
        if factor == 1:
            heads.box_features = lambda features, context, boxes, heads=heads: heads.box_pooler(features, boxes)
        losses = heads(features, proposals, sizes, targets)
        sum(losses.values()).backward()
        gradients.append(features[0].grad * factor)
    assert torch.allclose(*gradients, rtol=1e-4)


def test_scores_join_the_stages_as_each_programme_says(thin_scale) -> None:
    logits = [torch.tensor([[0.0, 2.0, 1.0]]), torch.tensor([[1.0, 0.0, 4.0]]), torch.tensor([[3.0, 1.0, 1.0]])]
    mm, d2 = small("mm", thin_scale), small("d2", thin_scale)
    assert torch.allclose(mm.scores(logits), torch.tensor([[4 / 3, 1.0, 2.0]]).softmax(-1))
    assert torch.allclose(d2.scores(logits), sum(one.softmax(-1) for one in logits) / 3)
    for heads in (mm, d2):
        assert torch.allclose(heads.scores([logits[0]] * 3), logits[0].softmax(-1))


def test_stage_weights_scale_the_losses_of_mm_alone(thin_scale) -> None:
    loss = {"loss_mask": torch.tensor(4.0)}
    for programme, expected in (("mm", [4, 2, 1]), ("d2", [4, 4, 4])):
        heads = small(programme, thin_scale)
        assert [heads.weighted(loss, stage)[f"loss_mask_{stage + 1}"].item() for stage in range(3)] == expected


def test_masks_of_detections_are_the_mean_of_the_branches(thin_scale) -> None:
    heads = small("mm", thin_scale).eval()
    features, _, _, targets = inputs()
    found = [{"boxes": targets[0]["boxes"], "labels": torch.tensor([1, 2]), "scores": torch.ones(2)}]
    with torch.no_grad():
        for branch, bias in zip(heads.mask_branches, (-8.0, 0.0, 8.0), strict=True):
            torch.nn.init.zeros_(branch.head.predictor.weight)
            branch.head.predictor.bias.fill_(bias)
        masks = heads.mask_inference(features, None, found)[0]["masks"]
    assert torch.allclose(masks, torch.full((2, 28, 28), 0.5))


def test_another_cascade_dialect_is_refused(thin_scale, input_size) -> None:
    arguments = {"num_classes": 2, "backbone": "resnet50", "scale": thin_scale, "input_size": input_size}
    with pytest.raises(ValueError, match="cascade_dialect must be one of mm, d2, not 'mx'"):
        cascade_mask_rcnn.build(**arguments, cascade_dialect="mx")
