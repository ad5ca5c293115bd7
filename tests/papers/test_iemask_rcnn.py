"""IEMask R-CNN: shapes, identities, gradients, and the parameters and FLOPs of its Table 8."""

import dataclasses
import itertools

import pytest
import torch

from reprolib.evaluation.cost import count_parameters, flops, on_meta
from reprolib.models.input_transform import InputSize
from reprolib.models.systems.mask_rcnn import model as mask_rcnn
from reprolib.papers.iemask_rcnn import model as iemask
from reprolib.papers.iemask_rcnn.bottom_up import BottomUpPath, FusionWeights
from reprolib.papers.iemask_rcnn.mask_head import build_mask_head
from reprolib.papers.iemask_rcnn.neck import ChannelEnhancement, GlobalInformation, InformationEnhancedFPN
from reprolib.papers.iemask_rcnn.switches import COMPONENTS, Switches, resolve_switches
from reprolib.params import Scale

PUBLISHED = Scale(pretrained=False)
THIN = Scale(
    backbones={"resnet50": "resnet10t"},
    norm="batch",
    pretrained=False,
    frozen_stages=0,
    channels=64,
    box_hidden=32,
    anchor_sizes=(8, 16, 32, 64, 128),
    rpn_pre_nms=(50, 50),
    rpn_post_nms=(50, 50),
    roi_batch=16,
)
SMALL = InputSize(min_sizes=(64,), max_size=128, test_size=64)


def published(components=COMPONENTS, **switches):
    return on_meta(
        lambda: iemask.build(
            num_classes=80,
            backbone="resnet50",
            components=components,
            scale=PUBLISHED,
            input_size=InputSize(),
            **switches,
        )
    )


def thin(components=COMPONENTS, **switches):
    torch.manual_seed(0)
    return iemask.build(
        num_classes=3, backbone="resnet50", components=components, scale=THIN, input_size=SMALL, **switches
    )


def batch():
    generator = torch.Generator().manual_seed(1)
    images = [torch.rand(3, 64, 64, generator=generator) for _ in range(2)]
    boxes = torch.tensor([[8.0, 8.0, 40.0, 40.0], [30.0, 20.0, 60.0, 60.0]])
    masks = torch.zeros(2, 64, 64, dtype=torch.uint8)
    masks[0, 8:40, 8:40], masks[1, 20:60, 30:60] = 1, 1
    targets = [{"boxes": boxes, "labels": torch.tensor([1, 3]), "masks": masks, "image_id": i} for i in range(2)]
    return images, targets


def test_parameters_of_table_8():
    """Reported 44.3, 75.0 and 140.0 M; the counts are those of the authors' code, unused layers included."""
    without_gim = ("cem", "bottomup", "aff", "encdechead")
    assert count_parameters(published(()))["params"] == 44_343_216
    assert count_parameters(published(without_gim, keep_dead_params=True))["params"] == 74_986_770
    assert count_parameters(published(keep_dead_params=True))["params"] == 140_655_634
    assert count_parameters(published(without_gim))["params"] == 74_986_770 - 1_179_904 - 590_592
    assert count_parameters(published())["params"] == 140_655_634 - 590_592


def test_parameters_of_the_parts():
    full = published()
    assert count_parameters(full.neck.global_information)["params"] == 65_668_864
    assert count_parameters(full.roi_heads.mask_branch.head)["params"] == 29_525_584
    assert count_parameters(full.neck.bottom_up)["params"] == 1_298_818
    gates = [full.neck.laterals[level] for level in (1, 2, 3)]
    assert sum(count_parameters(g.reduce)["params"] + count_parameters(g.expand)["params"] for g in gates) == 691_936
    text = published(variant="paper", group_norm=True)
    assert round(count_parameters(text.roi_heads.mask_branch.head)["params"] / 1e6, 2) == 17.73


def test_flops_of_table_8():
    """Specification, section 6: 204.0 and 399.7 G at 800x1088 with 50 detections, 200.4 and 318.5 at 800x1152, 25."""
    base, full = published(()), published()
    assert flops(base, 800, 1088, 1000, 50) / 1e9 == pytest.approx(204.0, rel=0.001)
    assert flops(full, 800, 1088, 1000, 50) / 1e9 == pytest.approx(399.7, rel=0.001)
    assert flops(base, 800, 1152, 1000, 25) / 1e9 == pytest.approx(200.4, rel=0.001)
    assert flops(full, 800, 1152, 1000, 25) / 1e9 == pytest.approx(318.5, rel=0.001)


def test_without_components_it_is_mask_rcnn():
    torch.manual_seed(0)
    plain = mask_rcnn.build(num_classes=3, backbone="resnet50", scale=THIN, input_size=SMALL)
    ours = thin(())
    shapes = sorted(tuple(p.shape) for p in ours.parameters())
    assert shapes == sorted(tuple(p.shape) for p in plain.parameters())


ALL_COMBINATIONS = [
    tuple(name for name, on in zip(COMPONENTS, switched, strict=True) if on)
    for switched in itertools.product((False, True), repeat=len(COMPONENTS))
    if not (switched[3] and not switched[2])
]


@pytest.mark.parametrize("components", ALL_COMBINATIONS, ids=lambda c: "+".join(c) or "none")
def test_every_combination_trains_all_its_parameters(components):
    model = thin(components).train()
    losses = model(*batch())
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []


@pytest.mark.parametrize("variant", ["code", "paper"])
def test_inference_keeps_the_contract(variant):
    model = thin(variant=variant).eval()
    images, _ = batch()
    with torch.inference_mode():
        results = model(images)
    for result in results:
        count = len(result["boxes"])
        assert result["masks"].shape == (count, 64, 64) and result["masks"].dtype == torch.bool
        assert result["labels"].shape == result["scores"].shape == (count,)


def test_channel_gate_is_between_0_and_1_and_depends_on_the_average_only():
    torch.manual_seed(0)
    module = ChannelEnhancement(32, channels=8)
    feature = torch.randn(2, 32, 5, 7)
    gate = module.gate(feature)
    assert gate.shape == (2, 32, 1, 1) and (gate > 0).all() and (gate < 1).all()
    shuffled = feature.flatten(2)[:, :, torch.randperm(35)].view_as(feature)
    torch.testing.assert_close(module.gate(shuffled), gate)
    torch.testing.assert_close(module(feature), module.project(feature * gate))


def test_global_information_is_one_linear_map():
    torch.manual_seed(0)
    module = GlobalInformation(16, channels=8).double()
    x, y, zero = (torch.randn(1, 16, 9, 11).double() for _ in range(3))
    zero = zero * 0
    offset = module(zero)
    torch.testing.assert_close(module(x + 2 * y) - offset, module(x) - offset + 2 * (module(y) - offset))
    assert module(x).shape == (1, 8, 1, 1)


def test_global_information_equals_copying_before_the_last_convolution():
    """Eq. 8 copies the descriptor to H x W first; broadcasting afterwards must give the same P5."""
    torch.manual_seed(0)
    neck = InformationEnhancedFPN([8, 8, 8, 16], channels=32, components=("gim",), switches=Switches()).double()
    c5 = torch.randn(2, 16, 6, 5).double()
    gim = neck.global_information
    pooled = gim.conv2(gim.conv1(c5)).mean((2, 3), keepdim=True).expand(-1, -1, 6, 5)
    expected = neck.merge(torch.cat([gim.project(pooled), neck.laterals[-1](c5)], dim=1))
    torch.testing.assert_close(neck.merged_top(c5), expected)


def test_fusion_weights_sum_to_one():
    torch.manual_seed(0)
    weights = FusionWeights(32, group_norm=True)(torch.randn(2, 32, 6, 5), torch.randn(2, 32, 6, 5))
    assert weights.shape == (2, 2, 6, 5)
    torch.testing.assert_close(weights.sum(1), torch.ones(2, 6, 5))
    assert weights.std() > 0


def test_fusion_picks_the_side_its_weights_name():
    """With all weight on the path from below, N_i does not see P_i, and the other way round."""
    torch.manual_seed(0)
    path = BottomUpPath(levels=2, channels=32, adaptive=True, switches=Switches())
    below, lateral = torch.randn(1, 32, 8, 8), torch.randn(1, 32, 4, 4)
    fusion = path.fusions[0]
    for side, expected in ((0, fusion.down(below)), (1, lateral)):
        with torch.no_grad():
            fusion.weights.score.bias.copy_(torch.tensor([50.0, -50.0] if side == 0 else [-50.0, 50.0]))
            fusion.weights.score.weight.zero_()
            torch.testing.assert_close(path([below, lateral])[1], fusion.output(expected))


def test_levels_share_one_fusion_unless_switched_off():
    shared = BottomUpPath(levels=4, channels=32, adaptive=True, switches=Switches())
    assert shared.fusions[0] is shared.fusions[2]
    own = BottomUpPath(levels=4, channels=32, adaptive=True, switches=Switches(aff_shared=False))
    assert count_parameters(own)["params"] == 3 * count_parameters(shared)["params"]


def test_mask_head_resolution():
    roi = torch.randn(2, 32, 28, 28)
    sizes = {
        (variant, up): build_mask_head(
            channels=32, num_masks=3, switches=resolve_switches((), variant=variant, final_up=up)
        )(roi).shape[-1]
        for variant in ("code", "paper")
        for up in (False, True)
    }
    assert sizes == {("code", False): 28, ("code", True): 56, ("paper", False): 28, ("paper", True): 56}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"components": ("CEM",)}, "no component 'CEM'"),
        ({"components": ("aff",)}, "add 'bottomup'"),
        ({"variant": "text"}, "variant must be"),
        ({"gim_merged": "sum"}, "no switch 'gim_merged'"),
        ({"mask_resolution": 14}, "multiple of 4"),
        ({"gim_merge": "add"}, "gim_merge must be one of"),
    ],
)
def test_nonsense_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        published(**{"components": COMPONENTS} | arguments)


@pytest.mark.parametrize("variant", ["code", "paper"])
def test_mask_head_learns_shapes_and_not_only_boxes(variant):
    """Two ellipses in each of two images: the masks must cut the corners off their boxes."""
    rows, columns = torch.arange(64)[:, None] + 0.5, torch.arange(64)[None] + 0.5
    images, targets = [], []
    for index, centres in enumerate((((18, 20), (44, 40)), ((20, 44), (46, 18)))):
        masks = torch.stack([((columns - x) / 14) ** 2 + ((rows - y) / 11) ** 2 < 1 for x, y in centres])
        boxes = torch.tensor([[x - 14, y - 11, x + 14, y + 11] for x, y in centres], dtype=torch.float)
        images.append((0.2 + 0.6 * masks.any(0)).expand(3, 64, 64).clone())
        targets.append({"boxes": boxes, "labels": torch.tensor([1, 1]), "masks": masks, "image_id": index})
    torch.manual_seed(0)
    model = iemask.build(
        num_classes=1,
        backbone="resnet50",
        components=COMPONENTS,
        scale=dataclasses.replace(THIN, norm="group", channels=32),
        input_size=SMALL,
        variant=variant,
        group_norm=True,
    ).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for step in range(160):
        torch.manual_seed(step)
        losses = model(images, targets)
        optimiser.zero_grad()
        sum(losses.values()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
    # Filled boxes of ellipses cost 0.52 on average; half of that needs the corners cut off.
    assert losses["loss_mask"] < 0.26
