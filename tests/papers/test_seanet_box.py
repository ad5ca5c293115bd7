"""SEANet's fully convolutional box head: outputs, what each switch changes, the one detection per proposal."""

import math

import pytest
import torch
from torch import nn
from torchvision.ops import roi_align

from reprolib.evaluation.cost import count_parameters, on_meta
from reprolib.models.detections import DetectionRule
from reprolib.models.two_stage.samples import RoISampler, Samples
from reprolib.papers.seanet.box_head import BoxOutputs, FullyConvolutionalBoxHead
from reprolib.papers.seanet.box_losses import paired_iou
from reprolib.papers.seanet.box_stage import FullyConvolutionalBoxStage, fully_convolutional_box_stage, select
from reprolib.papers.seanet.heads import BoundaryAwareHeads
from reprolib.papers.seanet.locations import encode, locations
from reprolib.papers.seanet.switches import Switches, resolve_switches
from reprolib.params import Scale

THIN = Scale(pretrained=False, channels=16)
BOX_SWITCHES = [
    {},
    {"variant": "code"},
    {"reg_parametrization": "exp_pixels"},
    {"tower_init": "normal"},
    {"floor_points": True},
    {"loc_assign": "any_gt"},
    {"giou_clamp": "giou"},
    {"detach_iou_target": False},
    {"iou_act": "code"},
    {"iou_act": "linear_both"},
    {"iou_target": "giou"},
    {"iou_target": "iou"},
    {"select": "class_first"},
    {"use_iou_score": False},
]


def switches(**changes):
    """As from scratch unless changed."""
    return resolve_switches(("biou",), pretrained=False, **changes)


def stage(*, num_classes=3, seed=0, **changes):
    torch.manual_seed(seed)
    return fully_convolutional_box_stage(num_classes=num_classes, scale=THIN, switches=switches(**changes))


def boxes_of(*rows):
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def samples_of(boxes, labels, matched):
    """One image's samples."""
    labels = torch.tensor(labels, dtype=torch.long)
    return Samples([boxes], [labels], [torch.tensor(matched, dtype=torch.long)], [torch.zeros(len(labels)).bool()])


def target_of(boxes, labels):
    return {"boxes": boxes, "labels": torch.tensor(labels, dtype=torch.long)}


class NoMasks(nn.Module):
    """In place of a mask branch; remembers the positives."""

    def losses(self, features, positives, targets):
        self.positives = positives
        return {}

    def inference(self, features, found):
        return found


class Given(nn.Module):
    """In place of a RoI pooler: features that are functions of the boxes alone."""

    def forward(self, features, boxes):
        every = torch.cat(boxes)
        return torch.stack([torch.sin(every * (i + 1)).sum(-1) for i in range(THIN.channels * 49)], 1).view(
            -1, THIN.channels, 7, 7
        )


def heads(box_stage, *, roi_batch=16, threshold=0.05):
    return BoundaryAwareHeads(
        sampler=RoISampler(iou=0.5, batch=roi_batch),
        box_pooler=Given(),
        box_stage=box_stage,
        mask_branch=NoMasks(),
        rule=DetectionRule(score_threshold=threshold, detections=100),
        switches=box_stage.switches,
    )


def test_parameters_of_the_published_head():
    """Specification section 2: used, and as the code builds it (table 6 counts these)."""

    def count(**changes):
        chosen = resolve_switches(("biou",), pretrained=True, **changes)
        model = on_meta(lambda: fully_convolutional_box_stage(num_classes=80, scale=Scale(), switches=chosen))
        return count_parameters(model)["params"]

    assert count() == 7_869_781
    assert count(count_dead_roi_convs=True) == 7_872_091
    head = on_meta(lambda: FullyConvolutionalBoxHead(256, num_classes=80))
    parts = {name: sum(p.numel() for p in child.parameters()) for name, child in head.named_children()}
    assert parts == {
        "class_tower": 2_361_344,
        "box_tower": 2_361_344,
        "iou_tower": 2_951_168,
        "class_output": 184_400,
        "box_output": 9_220,
        "iou_output": 2_305,
    }
    assert [m.num_groups for m in head.modules() if isinstance(m, nn.GroupNorm)] == [32] * 12


@pytest.mark.parametrize(("channels", "groups"), [(4, 1), (16, 2), (48, 6), (512, 32)])
def test_thin_towers_keep_groups_of_eight_channels(channels, groups):
    head = FullyConvolutionalBoxHead(channels, num_classes=2)
    assert {m.num_groups for m in head.modules() if isinstance(m, nn.GroupNorm)} == {groups}


@pytest.mark.parametrize(("init", "deviation"), [("normal", 0.01), ("kaiming", math.sqrt(2 / (64 * 9)))])
def test_towers_start_at_the_deviation_that_the_switch_names(init, deviation):
    head = FullyConvolutionalBoxHead(64, num_classes=2, tower_init=init)
    found = [conv.weight.std().item() for conv in head.box_tower if isinstance(conv, nn.Conv2d)]
    assert found == pytest.approx([deviation] * 4, rel=0.05)


def test_classes_start_at_one_percent_and_distances_at_one():
    outputs = stage()(torch.randn(4, 16, 7, 7))
    assert outputs.logits.shape == (4, 49, 3) and outputs.exponents.shape == (4, 49, 4) and outputs.iou.shape == (4, 49)
    assert (outputs.logits.sigmoid() - 0.01).abs().max() < 0.005
    assert outputs.exponents.abs().max() < 0.3


def test_iou_reads_the_regression_tower_and_the_classes_do_not():
    torch.manual_seed(0)
    head = FullyConvolutionalBoxHead(16, num_classes=3)
    x = torch.randn(2, 16, 7, 7)
    before = head(x)
    with torch.no_grad():
        head.box_tower[-2].bias.add_(torch.linspace(0, 2, 16))
    after = head(x)
    assert not torch.allclose(before.iou, after.iou) and torch.equal(before.logits, after.logits)


def test_outputs_are_float32_under_autocast():
    box_stage, rois = stage(), boxes_of([0, 0, 30, 30], [10, 10, 50, 60])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = box_stage(torch.randn(2, 16, 7, 7))
        losses = box_stage.losses(outputs, samples_of(rois, [1, 0], [0, 0]), [target_of(rois[:1], [1])])
        boxes, scores = box_stage.inference(outputs, rois)
    assert {part.dtype for part in (*outputs, *losses.values(), boxes, scores)} == {torch.float32}


def test_outputs_stand_at_the_locations_that_roi_align_reads():
    """A map of each pixel's own x and y, aligned to boxes and copied to the logits, gives the locations."""
    centres = (torch.arange(20) + 0.5) * 4  # stride 4
    grid = torch.stack([centres[None, :].expand(20, 20), centres[:, None].expand(20, 20)])
    rois = boxes_of([10, 12, 40, 61], [20.5, 8, 70, 30])
    head = FullyConvolutionalBoxHead(2, num_classes=2)
    head.class_tower = nn.Identity()
    head.class_output = nn.Conv2d(2, 2, 1, bias=False)
    head.class_output.weight.data = torch.eye(2)[:, :, None, None]
    x = roi_align(grid[None], [rois], 7, 1 / 4, 2, True)
    torch.testing.assert_close(head(x).logits, locations(rois, size=7), rtol=0, atol=1e-4)


def test_exponents_of_zero_are_the_roi_itself_or_one_pixel():
    rois = boxes_of([10, 20, 40, 80])
    zero = BoxOutputs(torch.zeros(1, 49, 2), torch.zeros(1, 49, 4), torch.eye(49)[24][None] * 9)  # the centre wins
    times_half, pixels = stage(), stage(reg_parametrization="exp_pixels")
    torch.testing.assert_close(times_half.inference(zero, rois)[0], rois)
    assert pixels.inference(zero, rois)[0].tolist() == [[24, 49, 26, 51]]
    exponents = torch.log(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    torch.testing.assert_close(times_half.distances(exponents, rois), torch.tensor([[15.0, 60.0, 45.0, 120.0]]))
    torch.testing.assert_close(pixels.distances(exponents, rois), torch.tensor([[1.0, 2.0, 3.0, 4.0]]))


@pytest.mark.parametrize(("parametrization", "start"), [("exp_pixels", math.log(2)), ("exp_times_half", 0.42)])
def test_where_the_box_loss_starts(parametrization, start):
    """Specification section 2: at ln 2 for boxes of a few pixels, lower for boxes of the RoI's size."""
    rois, truth = boxes_of([0, 0, 200, 120]).repeat(8, 1), boxes_of([5, 5, 190, 110])
    box_stage = stage(reg_parametrization=parametrization)
    outputs, samples = box_stage(torch.randn(8, 16, 7, 7)), samples_of(rois, [1] * 8, [0] * 8)
    losses = box_stage.losses(outputs, samples, [target_of(truth, [1])])
    assert losses["loss_box_reg"].item() == pytest.approx(start, abs=0.03)


@pytest.mark.parametrize("parametrization", ["exp_pixels", "exp_times_half"])
def test_wild_outputs_and_empty_rois_stay_finite(parametrization):
    rois = boxes_of([10, 10, 10, 10], [0, 0, 1e4, 1e4])
    box_stage = stage(reg_parametrization=parametrization)
    exponents = torch.tensor([[-300.0] * 4, [300.0] * 4])[:, None].repeat(1, 49, 1).requires_grad_()
    outputs = BoxOutputs(torch.full((2, 49, 3), 300.0), exponents, torch.full((2, 49), -300.0))
    losses = box_stage.losses(outputs, samples_of(rois, [1, 2], [0, 0]), [target_of(boxes_of([2, 2, 90, 90]), [1])])
    sum(losses.values()).backward()
    boxes, scores = box_stage.inference(outputs, rois)
    assert all(part.isfinite().all() for part in (*losses.values(), exponents.grad, boxes, scores))


def perfect(rois, truth, *, iou):
    """Outputs whose boxes are exactly `truth` [R,4], under exp_times_half."""
    points = locations(rois, size=7)
    half = (rois[:, 2:] - rois[:, :2]).repeat(1, 2)[:, None] / 2
    exponents = (encode(points, truth[:, None].expand(-1, 49, -1)).clamp(min=1e-3) / half).log()
    return BoxOutputs(torch.zeros(len(rois), 49, 3), exponents, torch.full((len(rois), 49), iou))


@pytest.mark.parametrize(("act", "raw", "loss"), [("sigmoid_both", 0.0, 0.125), ("code", 0.0, 0.5), ("code", 1.0, 0)])
def test_losses_are_of_the_decoded_boxes_at_positive_locations(act, raw, loss):
    """Boxes are perfect where they count (IoU 1), so only the IoU branch errs; it weighs a half."""
    rois, truth = boxes_of([0, 0, 70, 70], [0, 0, 70, 70]), boxes_of([0, 0, 50, 60], [20, 5, 65, 65])
    outputs = perfect(rois, truth, iou=raw)
    losses = stage(iou_act=act).losses(outputs, samples_of(rois, [1, 3], [0, 1]), [target_of(truth, [1, 3])])
    assert losses["loss_box_reg"].item() == pytest.approx(0, abs=1e-5)
    assert losses["loss_box_iou"].item() == pytest.approx(loss, abs=1e-5)


@pytest.mark.parametrize("detach", [True, False])
def test_iou_loss_moves_boxes_only_when_its_target_is_not_detached(detach):
    rois = boxes_of([0, 0, 70, 70])
    outputs = perfect(rois, boxes_of([0, 0, 40, 40]), iou=0.0)
    exponents = outputs.exponents.requires_grad_()
    targets = [target_of(boxes_of([0, 0, 60, 50]), [1])]
    losses = stage(detach_iou_target=detach).losses(outputs, samples_of(rois, [1], [0]), targets)
    if detach:
        assert not losses["loss_box_iou"].requires_grad
    else:
        assert torch.autograd.grad(losses["loss_box_iou"], exponents)[0].abs().max() > 0


@pytest.mark.parametrize("case", ["no RoI", "no positive", "no location inside"])
@pytest.mark.parametrize("any_gt", [False, True])
def test_losses_without_anything_to_find(case, any_gt):
    """Zero where they need positives, finite, and every parameter still gets a gradient."""
    box_stage = stage(loc_assign="any_gt" if any_gt else "assigned_gt")
    rois = boxes_of() if case == "no RoI" else boxes_of([0, 0, 70, 70], [5, 5, 9, 9])
    truth, labels = boxes_of(), [0] * len(rois)
    if case == "no location inside":  # a positive between the cells' centres
        truth, labels = boxes_of([16, 16, 24, 24]), [1, 1]
    outputs = box_stage(torch.randn(len(rois), 16, 7, 7))
    samples = samples_of(rois, labels, [0] * len(rois))
    losses = box_stage.losses(outputs, samples, [target_of(truth, [1] * len(truth))])
    assert losses["loss_box_reg"] == 0 and losses["loss_box_iou"] == 0
    assert (losses["loss_classifier"] > 0) == (case != "no RoI")
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in box_stage.parameters())


def test_the_two_selections_differ():
    """Cells x classes; class 0 has the highest score, class 1 the highest product, in another cell."""
    classes = torch.tensor([[[0.9, 0.1], [0.6, 0.2], [0.3, 0.8]]])
    iou = torch.tensor([[0.3, 0.5, 0.9]])
    assert select(classes, iou, class_first=False).tolist() == [2]  # 0.27, 0.30, 0.72
    assert select(classes, iou, class_first=True).tolist() == [1]  # of class 0: 0.27, 0.30, 0.27
    assert select(classes, torch.ones(1, 3), class_first=True).tolist() == [0]


def crafted():
    """One RoI of 0..70 whose cell 0 has the surest class and cell 48 the best IoU."""
    logits, iou = torch.full((1, 49, 2), -9.0), torch.full((1, 49), -1.0)
    logits[0, 0] = torch.tensor([3.0, -3.0])
    logits[0, 48] = torch.tensor([-3.0, 2.0])
    iou[0, 48] = 0.6
    return BoxOutputs(logits, torch.zeros(1, 49, 4), iou), boxes_of([0, 0, 70, 70])


@pytest.mark.parametrize(
    ("changes", "cell", "factor"),
    [
        ({}, 48, torch.sigmoid(torch.tensor(0.6))),
        ({"iou_act": "code"}, 48, torch.sigmoid(torch.tensor(0.6))),
        ({"iou_act": "linear_both"}, 48, torch.tensor(0.6)),
        ({"select": "class_first"}, 0, torch.sigmoid(torch.tensor(-1.0))),
        ({"use_iou_score": False}, 0, torch.tensor(1.0)),
    ],
)
def test_final_scores_are_class_times_iou_of_the_chosen_cell(changes, cell, factor):
    outputs, rois = crafted()
    boxes, scores = stage(reg_parametrization="exp_pixels", **changes).inference(outputs, rois)
    torch.testing.assert_close(scores[0], outputs.logits[0, cell].sigmoid() * factor)
    centre = 5.0 if cell == 0 else 65.0
    assert boxes.tolist() == [[centre - 1, centre - 1, centre + 1, centre + 1]]


def test_linear_iou_below_zero_never_gives_a_negative_score():
    outputs, rois = crafted()
    outputs = outputs._replace(iou=outputs.iou - 5)
    _, scores = stage(iou_act="linear_both").inference(outputs, rois)
    assert (scores == 0).all()


class Outputs(FullyConvolutionalBoxStage):
    """A stage that gives the same outputs whatever it sees."""

    def __init__(self, outputs, switches):
        super().__init__(head=nn.Identity(), switches=switches)
        self.outputs = outputs

    def forward(self, roi_features):
        return self.outputs


@pytest.mark.parametrize(("threshold", "kept"), [(0.5, 1), (0.6, 2)])
def test_nms_takes_the_switch_and_boxes_are_clipped(threshold, kept):
    """Two proposals of IoU 0.55 with their own boxes, the second reaching over the image's border."""
    rois = boxes_of([0, 0, 100, 100], [0, 0, 100, 182])
    logits = torch.full((2, 49, 2), -9.0)
    logits[:, 24, 1] = torch.tensor([3.0, 4.0])
    outputs = BoxOutputs(logits, torch.zeros(2, 49, 4), torch.full((2, 49), 9.0))
    box_stage = Outputs(outputs, switches(nms_threshold=threshold))
    found = heads(box_stage).box_inference([], None, [rois], [(200, 90)])
    assert len(found[0]["boxes"]) == kept
    torch.testing.assert_close(found[0]["boxes"][0], torch.tensor([0.0, 0.0, 90.0, 182.0]))
    assert found[0]["labels"].tolist() == [2] * kept


def test_images_of_a_batch_are_found_as_alone():
    whole = heads(stage(), threshold=0.001).eval()
    proposals = [boxes_of([0, 0, 30, 40], [5, 5, 60, 60]), boxes_of(), boxes_of([20, 10, 50, 50])]
    sizes = [(64, 64), (64, 64), (48, 64)]
    together = whole.box_inference([], None, proposals, sizes)
    assert [len(one["boxes"]) > 0 for one in together] == [True, False, True]
    for one, boxes, size in zip(together, proposals, sizes, strict=True):
        (alone,) = whole.box_inference([], None, [boxes], [size])
        for key in ("boxes", "labels", "scores"):
            torch.testing.assert_close(one[key], alone[key])


@pytest.mark.parametrize("changes", BOX_SWITCHES, ids=str)
def test_every_switch_trains_and_finds(changes):
    whole = heads(stage(**changes), threshold=0.001)
    proposals = [boxes_of([0, 0, 30, 40], [5, 5, 60, 60], [2, 1, 33, 38]), boxes_of([20, 10, 50, 50])]
    targets = [target_of(boxes_of([1, 1, 31, 39], [8, 9, 58, 61]), [1, 3]), target_of(boxes_of(), [])]
    sizes = [(64, 64), (64, 64)]
    losses = whole([], proposals, sizes, targets)
    assert sorted(losses) == ["loss_box_iou", "loss_box_reg", "loss_classifier"]
    assert [len(boxes) for boxes in whole.mask_branch.positives.boxes] == [4, 0]  # proposals, not what was found
    sum(losses.values()).backward()
    absent = [name for name, p in whole.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert absent == [] and all(p.grad.isfinite().all() for p in whole.parameters())
    again = heads(stage(**changes))([], proposals, sizes, targets)
    assert all(torch.equal(losses[name], again[name]) for name in losses)
    found = whole.box_inference([], None, proposals, sizes)
    for one in found:
        assert (one["boxes"] >= 0).all() and (one["boxes"] <= 64).all()
        assert (one["scores"] > 0).all() and (one["scores"] <= 1).all() and one["labels"].ge(1).all()


def test_undecided_parametrization_is_refused():
    with pytest.raises(ValueError, match="resolve_switches"):
        fully_convolutional_box_stage(num_classes=2, scale=THIN, switches=Switches())


def test_a_small_head_learns_boxes_classes_and_their_iou():
    """Three RoIs beside their instances and one of background, with features of their own."""
    box_stage = stage(num_classes=2)
    rois = boxes_of([0, 0, 40, 40], [30, 20, 90, 60], [10, 50, 40, 100], [60, 70, 90, 90])
    truth = boxes_of([4, 2, 44, 48], [36, 22, 86, 66], [6, 52, 36, 90])
    samples, targets = samples_of(rois, [1, 2, 1, 0], [0, 1, 2, 0]), [target_of(truth, [1, 2, 1])]
    features = torch.randn(4, 16, 7, 7)
    optimizer = torch.optim.Adam(box_stage.parameters(), lr=5e-3)
    history = []
    for _ in range(120):
        losses = box_stage.losses(box_stage(features), samples, targets)
        history.append({name: loss.item() for name, loss in losses.items()})
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    for name in ("loss_classifier", "loss_box_reg"):
        assert history[-1][name] < 0.2 * history[0][name], name
    assert history[-1]["loss_box_iou"] < 0.01
    boxes, scores = box_stage.inference(box_stage(features), rois)
    assert (paired_iou(boxes[:3], truth) > 0.8).all()
    assert scores[:3].argmax(-1).tolist() == [0, 1, 0] and scores[:3].amax(-1).min() > 0.5 > scores[3].max()
