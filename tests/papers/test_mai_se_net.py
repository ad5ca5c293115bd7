"""MAI-SE-Net whole: the counts of its ladder, every component alone in training, where boxes are read."""

import dataclasses
from importlib import resources

import pytest
import torch

from reprolib.evaluation.cost import count_parameters, flops, on_meta
from reprolib.models.input_transform import InputSize
from reprolib.models.systems.htc import model as htc
from reprolib.papers.mai_se_net import model as mai_se_net
from reprolib.papers.mai_se_net.mask_interaction import ASPP, CBAM, CSAB, MaskInteraction
from reprolib.papers.mai_se_net.switches import COMPONENTS, Switches
from reprolib.params import Scale

LADDER = [COMPONENTS[:count] for count in range(len(COMPONENTS) + 1)]
PUBLISHED = {"num_classes": 1, "backbone": "resnet101", "scale": Scale(pretrained=False), "input_size": InputSize()}
THIN = Scale(
    backbones={"resnet101": "resnet10t"},
    norm="batch",
    pretrained=False,
    frozen_stages=0,
    channels=32,
    box_hidden=32,
    anchor_sizes=(8, 16, 32, 64, 128),
    rpn_pre_nms=(50, 50),
    rpn_post_nms=(50, 50),
    roi_batch=16,
    detections=10,
)
SMALL = {
    "num_classes": 2,
    "backbone": "resnet101",
    "scale": THIN,
    "input_size": InputSize(min_sizes=(64,), test_size=64),
}


def published(components, **switches):
    return on_meta(lambda: mai_se_net.build(components=components, **PUBLISHED, **switches))


def thin(components=COMPONENTS, **switches):
    torch.manual_seed(0)
    return mai_se_net.build(components=components, **SMALL, **switches)


def batch(count=2):
    images = [torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(index)) for index in range(2)]
    boxes = torch.tensor([[8.0, 8.0, 40.0, 40.0], [30.0, 20.0, 60.0, 60.0]])[:count]
    masks = torch.zeros(2, 64, 64, dtype=torch.uint8)
    masks[0, 8:40, 8:40], masks[1, 20:60, 30:60] = 1, 1
    labels = torch.tensor([1, 2])[:count]
    return images, [{"boxes": boxes, "labels": labels, "masks": masks[:count], "image_id": i} for i in range(2)]


def test_parameters_of_table_1():
    """Specification, section 5; rows 1 to 7, components added in the order of the columns."""
    expected = [96_144_484, 101_389_924, 101_521_892, 104_997_100, 105_071_248, 105_071_248, 105_080_001]
    assert [count_parameters(published(row))["params"] for row in LADDER] == expected


def test_parameters_of_table_3():
    """One component removed; without FBO there are five context blocks."""
    expected = [99_834_561, 104_948_033, 101_604_793, 105_005_853, 105_080_001 + 4 * 8_753, 105_071_248]
    rows = [tuple(one for one in COMPONENTS if one != removed) for removed in COMPONENTS]
    assert [count_parameters(published(row))["params"] for row in rows] == expected


@pytest.mark.parametrize(
    ("switches", "expected"),
    [
        ({"csab_out": "conv1x1"}, 104_163_009),
        ({"csab_out": "group_reduce"}, 105_080_001 - 2 * (589_824 + 590_080 + 24_848)),
        ({"share_mai": True}, 105_080_001 - (4_492_100 - 589_824)),
        ({"gcb_ratio": 1 / 4}, 105_080_001 - 8_753 + 33_473),
        ({"cbam_bn": False}, 105_080_001 - 2 * 2),
        ({"nlb_in": "4C"}, 105_080_001 + 2 * (4 * 768 * 64 + 768)),
    ],
    ids=str,
)
def test_parameters_of_the_switches(switches, expected):
    assert count_parameters(published(COMPONENTS, **switches))["params"] == expected


def test_parameters_of_one_site():
    count = {
        name: count_parameters(on_meta(make))["params"]
        for name, make in {
            "aspp": lambda: ASPP(256, activation=True),
            "csab": lambda: CSAB(256, switches=Switches()),
            "cbam": lambda: CBAM(512),
            "site": lambda: MaskInteraction(256, components=COMPONENTS, switches=Switches()),
        }.items()
    }
    assert count == {"aspp": 2_622_720, "csab": 1_180_160 + 33_412, "cbam": 33_412, "site": 4_492_100 - 589_824}


def test_every_component_costs_what_it_does():
    """The paper's frames per second fall row by row. FBO has nothing that FLOPs count: it pools, copies and adds."""
    costs = []
    for row in LADDER:
        model = on_meta(lambda row=row: thin(row))
        costs.append(flops(model, 512, 512, 1000, 20))
    assert costs[4] == costs[5]
    assert sorted(set(costs)) == costs[:5] + costs[6:]


def test_without_components_it_is_htc():
    torch.manual_seed(0)
    theirs, ours = htc.build(**SMALL), thin(())
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, theirs.state_dict()[name], rtol=0, atol=0)


TRAINED = [
    *[((one,), {}) for one in COMPONENTS],
    (COMPONENTS, {}),
    (COMPONENTS, {"share_mai": True, "nlb_in": "4C", "nlb_scale": True, "csab_out": "conv1x1", "keep_b6": True}),
    (
        COMPONENTS,
        {
            "csab_out": "group_reduce",
            "cbam_parallel": True,
            "cbam_bn": False,
            "aspp_act": "none",
            "p1_source": "P2_merged",
            "fbo_up": "bilinear",
            "se_residual": "all",
            "gcb_ratio": 1 / 4,
            "roi_finest_scale": 56,
        },
    ),
]


@pytest.mark.parametrize(("components", "switches"), TRAINED, ids=lambda value: "+".join(value) or "default")
def test_trains_every_parameter_and_detects(components, switches):
    model = thin(components, **switches).train()
    losses = model(*batch())
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert {f"loss_mask_{stage}" for stage in (1, 2, 3)} <= losses.keys()
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
    with torch.inference_mode():
        results = model.eval()(batch()[0])
    for result in results:
        count = len(result["boxes"])
        assert result["masks"].shape == (count, 64, 64) and result["masks"].dtype == torch.bool
        assert result["labels"].shape == result["scores"].shape == (count,)


def test_an_image_without_ships_costs_nothing_in_the_masks():
    model = thin().train()
    losses = model(*batch(count=0))
    sum(losses.values()).backward()
    assert all(losses[f"loss_mask_{stage}"] == 0 for stage in (1, 2, 3))
    assert all(p.grad is not None for p in model.roi_heads.mask_flow.parameters())
    assert all(buffer.isfinite().all() for buffer in model.buffers())


def test_trains_in_half_precision():
    """Under autocast the maps are bfloat16; losses and their gradients are finite and float32."""
    model = thin().train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = model(*batch())
    sum(losses.values()).backward()
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


def test_both_sites_share_their_weights_when_asked():
    apart, shared = thin().roi_heads.mask_flow.sites, thin(share_mai=True).roi_heads.mask_flow.sites
    assert len(apart) == len(shared) == 2
    assert shared[0] is shared[1] and apart[0] is not apart[1]


def test_boxes_and_anchors_follow_the_new_bottom_level():
    def setting(components, **switches):
        model = mai_se_net.build(
            components=components,
            **SMALL | {"scale": dataclasses.replace(THIN, anchor_sizes=(32, 64, 128, 256, 512))},
            **switches,
        )
        heads = model.roi_heads
        assert heads.box_pooler.strides == heads.mask_pooler.strides
        assert heads.box_pooler.finest_scale == heads.mask_pooler.finest_scale
        anchors = [size for (size,) in model.rpn.anchor_generator.sizes]
        return anchors, heads.box_pooler.strides, heads.box_pooler.finest_scale

    whole, halved = [32, 64, 128, 256, 512], [16, 32, 64, 128, 256]
    assert setting(()) == setting(("fbo",)) == (whole, (4, 8, 16, 32), 56)
    assert setting(("carafeb",)) == (halved, (2, 4, 8, 16, 32), 28)
    assert setting(("carafeb",), roi_finest_scale=56, keep_b6=True) == ([*halved, 512], (2, 4, 8, 16, 32), 56)


def test_boxes_under_56_pixels_read_p1():
    """Level = floor(4 + log2(side / 224)), clamped to P1..P5."""
    pooler = thin(("carafeb",)).roi_heads.box_pooler
    sides = torch.tensor([10.0, 55.0, 57.0, 111.0, 113.0, 223.0, 225.0, 447.0, 449.0, 900.0])
    boxes = torch.stack([torch.zeros(10), torch.zeros(10), sides, sides], dim=1)
    assert (pooler.levels(boxes) + 1).tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"components": ("ASPP",)}, "no component 'ASPP'; there are aspp"),
        ({"fbo_upsampling": "nearest"}, "no switch 'fbo_upsampling'; there are share_mai"),
        ({"aspp_act": "gelu"}, "aspp_act must be one of relu, none"),
        ({"nlb_in": "2C"}, "nlb_in must be one of C, 4C"),
        ({"csab_out": "widen"}, "csab_out must be one of widen_first_conv"),
        ({"p1_source": "C1"}, "p1_source must be one of P2_out, P2_merged"),
        ({"fbo_up": "bicubic"}, "fbo_up must be one of nearest, bilinear"),
        ({"se_residual": "p1"}, "se_residual must be one of p1_only"),
        ({"gcb_ratio": 16}, r"gcb_ratio must be in \(0, 1\]"),
        ({"roi_finest_scale": 0}, "roi_finest_scale must be a positive"),
        ({"share_mai": "false"}, "share_mai must be true or false"),
        ({"components": ("nlb",), "nlb_in": "4C"}, "add the component 'aspp'"),
    ],
    ids=str,
)
def test_nonsense_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        published(**{"components": COMPONENTS} | arguments)


def test_the_card_explains_every_switch():
    card = (resources.files("reprolib.papers.mai_se_net") / "card.md").read_text()
    names = [*(field.name for field in dataclasses.fields(Switches)), *COMPONENTS]
    assert [name for name in names if f"`{name}`" not in card] == []
