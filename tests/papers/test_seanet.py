"""SEANet whole: the counts of table 6, both frameworks, every component and variant in training, its switches."""

import dataclasses
from importlib import resources

import pytest
import torch

from reprolib.evaluation.cost import count_parameters, flops, on_meta
from reprolib.models.input_transform import InputSize
from reprolib.models.systems.mask_rcnn import model as mask_rcnn
from reprolib.models.systems.mask_scoring_rcnn import model as mask_scoring_rcnn
from reprolib.models.two_stage.mask_head import MaskHead
from reprolib.papers.seanet import model as seanet
from reprolib.papers.seanet.mask_attention import ChannelAttention, EdgeAttentionMaskHead, PositionAttention
from reprolib.papers.seanet.switches import CHOICES, COMPONENTS, Switches, resolve_switches
from reprolib.params import Scale

PUBLISHED = {"num_classes": 80, "backbone": "resnet101", "scale": Scale(pretrained=False), "input_size": InputSize()}
THIN = Scale(
    backbones={"resnet50": "test_resnet"},
    norm="group",
    pretrained=False,
    frozen_stages=0,
    channels=32,
    box_hidden=32,
    anchor_sizes=(8, 16, 32, 64, 128),
    rpn_pre_nms=(40, 40),
    rpn_post_nms=(40, 20),
    rpn_batch=64,
    roi_batch=16,
    detections=8,
    score_threshold=0.001,
)
SMALL = {
    "num_classes": 2,
    "backbone": "resnet50",
    "scale": THIN,
    "input_size": InputSize(min_sizes=(64,), test_size=64, max_size=128),
}
FRAMEWORK = {"components": (), "roi_fusion": "single_level"}
HOSTS = [("mask_rcnn", mask_rcnn), ("mask_scoring_rcnn", mask_scoring_rcnn)]


def trainable(components, **switches):
    model = on_meta(lambda: seanet.build(components=components, **PUBLISHED, **switches))
    return count_parameters(model)["trainable_params"]


def thin(components=COMPONENTS, **switches):
    torch.manual_seed(0)
    return seanet.build(components=components, **SMALL, **switches)


def batch(count=2):
    images = [torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(index)) for index in range(2)]
    boxes = torch.tensor([[8.0, 8.0, 40.0, 40.0], [30.0, 20.0, 60.0, 60.0]])[:count]
    masks = torch.zeros(2, 64, 64, dtype=torch.uint8)
    masks[0, 8:40, 8:40], masks[1, 20:60, 30:60] = 1, 1
    labels = torch.tensor([1, 2])[:count]
    return images, [{"boxes": boxes, "labels": labels, "masks": masks[:count], "image_id": i} for i in range(2)]


def step(model, count=2):
    torch.manual_seed(1)
    losses = model.train()(*batch(count))
    sum(losses.values()).backward()
    return losses


def detect(model):
    with torch.inference_mode():
        return model.eval()(batch()[0])


@pytest.mark.parametrize(
    ("components", "as_built", "without_roi_convs"),
    [
        ((), 63_167_477 + 4 * 328_192, 63_167_477),
        (("biou",), 58_041_531, 56_728_763),
        (("attention", "edge"), 71_323_960, 70_011_192),
        (COMPONENTS, 64_885_246, 63_572_478),
    ],
    ids=str,
)
def test_parameters_of_table_6(components, as_built, without_roi_convs):
    """Specification, section 8: 58.04, 71.32 and 64.89 M, with what the code builds and never uses."""
    assert trainable(components, count_dead_roi_convs=True) == as_built
    assert trainable(components, count_dead_roi_convs=True, roi_fusion="single_level") == without_roi_convs
    never_used = (2_310 if "biou" in components else 0) + ("attention" in components)
    assert trainable(components, roi_fusion="single_level") == without_roi_convs - never_used
    assert trainable(components) == as_built - never_used - 2 * 328_192


def test_parameters_of_the_mask_head():
    """Specification, section 3, part by part; a concatenation widens the last 1x1 convolution by 256 channels."""

    def count(make):
        return count_parameters(on_meta(make))["params"]

    assert count(lambda: ChannelAttention(256)) == 3_277_312 + 8_192
    assert count(lambda: PositionAttention(256)) == 82_241
    plain = count(lambda: MaskHead(256, outputs=81))
    assert count(lambda: EdgeAttentionMaskHead(256, outputs=81, dead_gamma=True)) == plain + 6_843_715
    assert count(lambda: EdgeAttentionMaskHead(256, outputs=81)) == plain + 6_843_714
    assert count(lambda: EdgeAttentionMaskHead(256, outputs=81, edge_fuse="concat")) == plain + 6_843_714 + 256 * 256


def test_costs_stand_in_the_order_of_table_6():
    """405, 428, 450 and 464 ms."""
    rows = [{"components": row} for row in (("attention", "edge"), ("biou",), COMPONENTS)]
    published = PUBLISHED | {"scale": Scale(pretrained=False, backbones={"resnet101": "test_resnet"})}
    costs = []
    for row in (FRAMEWORK, *rows):
        model = on_meta(lambda row=row: seanet.build(**published, **row))
        costs.append(flops(model, 800, 1280, 1000, 100))
    assert costs == sorted(set(costs))


@pytest.mark.parametrize(("host", "system"), HOSTS, ids=["mask_rcnn", "mask_scoring_rcnn"])
def test_without_components_and_fusion_it_is_its_framework(host, system):
    torch.manual_seed(1)
    theirs = system.build(dialect="mm", background_channels=True, **SMALL)
    ours = thin(host=host, **FRAMEWORK)
    ours.load_state_dict(theirs.state_dict())
    assert str(ours) == str(theirs)
    ours_losses, their_losses = step(ours), step(theirs)
    assert ours_losses.keys() == their_losses.keys()
    for name, loss in ours_losses.items():
        torch.testing.assert_close(loss, their_losses[name], rtol=0, atol=0)
    for mine, reference in zip(detect(ours), detect(theirs), strict=True):
        assert mine.keys() == reference.keys()
        assert all(torch.equal(mine[key], reference[key]) for key in mine)


TRAINED = [
    (COMPONENTS, {}),
    (COMPONENTS, {"variant": "code"}),
    (COMPONENTS, {"host": "mask_scoring_rcnn", "edge_weight": "formula_batch", "edge_thickness": 2}),
    (("biou",), {"host": "mask_scoring_rcnn", "roi_fusion": "single_level"}),
    (("biou", "attention"), {"loc_assign": "any_gt", "iou_act": "linear_both", "iou_target": "giou"}),
    (("attention",), {"host": "mask_scoring_rcnn", "edge_fuse": "concat"}),
    (("attention", "edge"), {"edge_weight": "const5", "edge_border_counts": False}),
]


@pytest.mark.parametrize(("components", "switches"), TRAINED, ids=str)
def test_trains_every_parameter_and_detects(components, switches):
    model = thin(components, **switches)
    losses = step(model)
    assert all(loss.isfinite() for loss in losses.values())
    scoring = "host" in switches
    assert ("loss_edge" in losses, "loss_mask_iou" in losses) == ("edge" in components, scoring)
    assert "loss_mask" in losses
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
    for result in detect(model):
        count = len(result["boxes"])
        assert 0 < count <= 8 and result["masks"].shape == (count, 64, 64)
        assert ("mask_scores" in result) == scoring
        if scoring:
            assert (result["mask_scores"] <= result["scores"]).all() and (result["mask_scores"] >= 0).all()


@pytest.mark.parametrize("host", ["mask_rcnn", "mask_scoring_rcnn"])
def test_edge_supervision_switched_off_drops_only_its_loss(host):
    """Table 4, row d. What only predicts edges keeps its place, frozen."""
    supervised, free = thin(host=host), thin(("biou", "attention"), host=host)
    assert {name: p.shape for name, p in supervised.named_parameters()} == {
        name: p.shape for name, p in free.named_parameters()
    }
    losses, rest = step(supervised), step(free)
    assert losses.keys() - rest.keys() == {"loss_edge"} and losses["loss_edge"] > 0
    for name, loss in rest.items():
        torch.testing.assert_close(loss, losses[name], rtol=0, atol=0)
    frozen = {name for name, parameter in free.named_parameters() if not parameter.requires_grad}
    assert frozen and all("edge_predictor" in name for name in frozen)
    assert all(parameter.requires_grad for parameter in supervised.parameters())


def test_images_without_instances_cost_nothing_in_masks_and_edges():
    model = thin()
    losses = step(model, count=0)
    assert losses["loss_mask"] == losses["loss_edge"] == 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.roi_heads.parameters())


def test_what_the_code_never_uses_gets_no_gradient():
    model = thin(count_dead_roi_convs=True)
    step(model)
    idle = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert idle and all("unused" in name for name in idle)


def test_the_boxes_of_the_convolutional_head_alone_have_its_nms_threshold():
    thresholds = [thin(row, nms_threshold=0.7).roi_heads.rule.nms_threshold for row in ((), ("attention",), ("biou",))]
    assert thresholds == [0.5, 0.5, 0.7] and thin().roi_heads.rule.nms_threshold == 0.6


def test_variants():
    spec, code = (resolve_switches(COMPONENTS, pretrained=True, variant=name) for name in ("spec", "code"))
    assert spec == Switches(reg_parametrization="exp_pixels", tower_init="normal")
    assert (code.iou_act, code.giou_clamp, code.edge_weight, code.select) == ("code", "giou", "const5", "class_first")
    assert code.floor_points and not code.detach_iou_target and code.roi_fusion == "all_level_concat"
    changed = resolve_switches(COMPONENTS, pretrained=False, variant="code", edge_weight="formula_roi")
    assert dataclasses.replace(changed, edge_weight="const5") == code


def test_distances_in_pixels_and_small_towers_only_from_pretrained_weights():
    chosen = [resolve_switches((), pretrained=on) for on in (True, False)]
    assert [one.reg_parametrization for one in chosen] == ["exp_pixels", "exp_times_half"]
    assert [one.tower_init for one in chosen] == ["normal", "kaiming"]
    assert thin().roi_heads.box_stage.switches.reg_parametrization == "exp_times_half"
    assert resolve_switches((), pretrained=False, reg_parametrization="exp_pixels").reg_parametrization == "exp_pixels"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"components": ("BIoU",)}, "no component 'BIoU'; there are biou"),
        ({"components": ("biou", "edge")}, "add the component 'attention'"),
        ({"variant": "paper"}, "variant must be one of spec, code"),
        ({"edge_weights": "const5"}, "no switch 'edge_weights'; there are variant, host"),
        *[({name: "other"}, f"{name} must be one of {allowed[0]}") for name, allowed in CHOICES.items()],
        ({"floor_points": "false"}, "floor_points must be true or false"),
        ({"nms_threshold": 60}, r"nms_threshold must be in \(0, 1\)"),
        ({"edge_thickness": 0}, "edge_thickness must be a positive"),
        ({"edge_thickness": 1.5}, "edge_thickness must be a positive"),
    ],
    ids=str,
)
def test_nonsense_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        on_meta(lambda: seanet.build(**PUBLISHED | {"components": COMPONENTS} | arguments))


def test_the_card_explains_every_switch():
    card = (resources.files("reprolib.papers.seanet") / "card.md").read_text()
    names = ["variant", *(field.name for field in dataclasses.fields(Switches)), *COMPONENTS]
    assert [name for name in names if f"`{name}`" not in card] == []
    assert [value for values in CHOICES.values() for value in values if value not in card] == []
