"""What MAI-SE-Net's notebook shows: the numbers are those that the network computes with."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reprolib.evaluation.cost import on_meta
from reprolib.models.input_transform import InputSize
from reprolib.models.systems.htc import model as htc
from reprolib.papers.mai_se_net import model as mai_se_net
from reprolib.papers.mai_se_net.diagram import network_diagram, site_diagram
from reprolib.papers.mai_se_net.inside import block_shapes, context_weights, pyramid, reassembly, site_view, strength
from reprolib.papers.mai_se_net.mask_interaction import CBAM
from reprolib.papers.mai_se_net.switches import COMPONENTS
from reprolib.params import Scale

PUBLISHED = {"num_classes": 1, "backbone": "resnet101", "scale": Scale(pretrained=False), "input_size": InputSize()}
THIN = Scale(
    backbones={"resnet101": "resnet10t"},
    norm="batch",
    pretrained=False,
    frozen_stages=0,
    channels=16,
    box_hidden=16,
    rpn_pre_nms=(20, 20),
    rpn_post_nms=(20, 20),
)
SMALL = InputSize(min_sizes=(60,), test_size=60, max_size=64)
LADDER = [COMPONENTS[:count] for count in range(len(COMPONENTS) + 1)]
REMOVED = [tuple(one for one in COMPONENTS if one != removed) for removed in COMPONENTS]
SIZE = {"height": 512, "width": 512}
BOX = torch.tensor([8.0, 12.0, 40.0, 30.0])


def published(components=COMPONENTS, **switches):
    return on_meta(lambda: mai_se_net.build(components=components, **PUBLISHED, **switches))


def thin(components=COMPONENTS, **switches):
    torch.manual_seed(0)
    parts = {"num_classes": 1, "backbone": "resnet101", "scale": THIN, "input_size": SMALL}
    model = mai_se_net.build(components=components, **parts, **switches)
    for parameter in model.parameters():  # so that nothing is an identity, as it is at the start of training
        nn.init.normal_(parameter, std=0.1)
    return model.eval()


def noise(height, width):
    return torch.rand((3, height, width), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def image():
    """60x64, which is padded to 64x64."""
    return noise(60, 64)


def test_shapes_of_the_published_blocks():
    rows = {row["block"]: row for row in block_shapes(published(), **SIZE)}
    assert rows["P1: CARAFEB"]["output"] == "256×256×256"
    assert rows["CARAFE's kernels"]["output"] == "100×128×128"
    assert rows["F_FBO: FBO"]["output"] == rows["GCB of F_FBO"]["output"] == "256×64×64"
    assert rows["M1 to M2"] == {
        "block": "M1 to M2",
        "input": "256×14×14, 256×14×14",
        "output": "512×14×14",
        "parameters": 3_902_276,
    }
    assert rows["mask head M2"]["input"] == "512×14×14" and rows["mask head M2"]["output"] == "1×28×28"
    assert rows["M1 to M2: ASPP"]["parameters"] == 2_622_720
    # the second site is like the first, and not taken apart again
    assert "M2 to M3" in rows and not any(name.startswith("M2 to M3: ") for name in rows)


def test_blocks_of_htc():
    rows = {row["block"]: row for row in block_shapes(on_meta(lambda: htc.build(**PUBLISHED)), **SIZE)}
    assert rows["M1 to M2: HTC's 1x1"]["parameters"] == 65_792
    assert not any("GCB" in name or "CARAFE" in name for name in rows)


def test_the_pyramid_is_cut_to_the_image_and_recovered_from_one_map(image):
    maps = pyramid(thin(), image)
    assert list(maps) == ["P1", "P2", "P3", "P4", "P5", "FBO", "GCB", "B1", "B2", "B3", "B4", "B5"]
    assert [tuple(maps[f"B{level}"].shape[1:]) for level in range(1, 6)] == [(30, 32), (15, 16), (8, 8), (4, 4), (2, 2)]
    middle = maps["GCB"][None]
    torch.testing.assert_close(maps["B3"], middle[0])
    enlarged = F.interpolate(middle, scale_factor=4.0)[0, :, :30]
    torch.testing.assert_close(maps["B1"], enlarged + maps["P1"])
    assert not torch.equal(maps["FBO"], maps["GCB"])
    assert strength(torch.tensor([[[3.0]], [[4.0]]])).tolist() == [[5.0]]


def test_levels_of_shorter_pyramids(image):
    assert list(pyramid(thin(("carafeb",)), image)) == [f"{letter}{level}" for letter in "PB" for level in range(1, 6)]
    assert "P1" not in pyramid(thin(("fbo",)), image) and "B6" in pyramid(thin(("fbo",)), image)


def test_carafe_shows_the_kernels_that_it_uses(image):
    found = reassembly(thin(), image)
    row, column = 5, 9
    kernels = found.kernel_at((column + 0.5) / 16, (row + 0.5) / 15)
    padded = F.pad(found.source, (2, 2, 2, 2))[:, row : row + 5, column : column + 5]
    for i in (0, 1):
        for j in (0, 1):
            assert kernels[i, j].sum() == pytest.approx(1)
            wanted = (padded * kernels[i, j]).sum((1, 2))
            torch.testing.assert_close(found.output[:, 2 * row + i, 2 * column + j], wanted)
    assert torch.equal(found.repeated[:, 11, 19], found.source[:, 5, 9])
    assert found.kernel_at(1.0, 1.0).shape == (2, 2, 5, 5)
    assert reassembly(thin(("fbo", "gcb")), image) is None


def test_context_weights_are_those_of_the_block():
    model, image = thin(), noise(64, 64)
    weights = context_weights(model, image)["F_FBO"]
    pooled = (pyramid(model, image)["FBO"] * weights).sum((1, 2))
    inputs = []
    model.neck.contexts[0].mlp_add.register_forward_hook(lambda module, given, output: inputs.append(given[0]))
    pyramid(model, image)
    torch.testing.assert_close(inputs[0].flatten(), pooled)
    assert list(context_weights(thin(("carafeb", "gcb")), image)) == ["P1", "P2", "P3", "P4", "P5"]


def test_a_site_shows_what_the_next_head_gets(image):
    model = thin()
    view = site_view(model, image, BOX, stage=2)
    flow = model.roi_heads.mask_flow
    torch.testing.assert_close(flow.heads[2].features(view.output[None]), flow.features(view.roi[None], 2))
    torch.testing.assert_close(view.attention.sum(1), torch.ones(196))
    assert view.attention.std() > 0
    site = flow.sites[1]
    torch.testing.assert_close(view.branches[3], F.relu(site.aspp.branches[1](view.previous[None]))[0])
    assert view.positions.shape == (14, 14)


def test_channel_weights_are_told_apart_by_source(image):
    model = thin()
    csab = model.roi_heads.mask_flow.sites[0].fusion
    with torch.no_grad():  # the refined half is silent, so its channels' mean and maximum are 0
        csab.group.weight[:16], csab.group.bias[:16] = 0, 0
        csab.group.bias[16:] = 5
    csab.attention.mlp = nn.Identity()
    gates = site_view(model, image, BOX).gates
    assert (gates["refined features"] == 0.5).all() and (gates["RoI features"] > 0.9).all()


def test_gates_and_positions_give_the_output(image):
    for parallel in (False, True):
        model = thin(cbam_parallel=parallel)
        view = site_view(model, image, BOX)
        csab = model.roi_heads.mask_flow.sites[0].fusion
        shuffled = []
        cbam = next(module for module in csab.modules() if isinstance(module, CBAM))
        cbam.register_forward_hook(lambda module, given, output, kept=shuffled: kept.append(given[0][0]))
        site_view(model, image, BOX)
        gates = torch.stack([view.gates["refined features"], view.gates["RoI features"]], dim=1).flatten()
        torch.testing.assert_close(view.output, shuffled[0] * gates[:, None, None] * view.positions)


def test_boxes_are_of_the_image_given():
    model = thin()
    small = noise(30, 32)  # enlarged to 60x64
    view = site_view(model, small, BOX / 2)
    batch, _ = model.transform([small], None)
    levels = model.neck(model.backbone(batch.tensors))
    torch.testing.assert_close(view.roi, model.roi_heads.mask_features(levels, None, [BOX[None]])[0])


def test_absent_parts_of_a_site_are_none(image):
    view = site_view(thin(("aspp",)), image, BOX)
    assert view.branches and view.attention is None and view.gates is None and view.positions is None
    assert site_view(thin(()), image, BOX).output.shape == (16, 14, 14)


@pytest.mark.parametrize("components", [*LADDER, *REMOVED[:-1]], ids=lambda parts: "+".join(parts) or "htc")
def test_diagrams_show_what_is_there(components):
    model = published(components)
    whole = {block.name: block.text for block in network_diagram(model, **SIZE).blocks}
    site = {block.kind for block in site_diagram(model, **SIZE).blocks}
    assert ("P1: CARAFE" in whole) == ("carafeb" in components)
    assert ("FBO" in whole) == ("fbo" in components)
    assert any(name.startswith("GCB") for name in whole) == ("gcb" in components)
    assert {name.lower() for name in site - {"", "HTC"}} == set(components) & {"aspp", "nlb", "csab"}
    first = "B1" if {"fbo", "gcb"} & set(components) else "P1: CARAFE"
    if "carafeb" in components:
        assert whole[first] == "256×256×256"
    assert whole["M3"] == ("512×14×14 → 1×28×28" if "csab" in components else "256×14×14 → 1×28×28")


def test_diagrams_follow_the_switches():
    arrows = {(flow.source, flow.target) for flow in network_diagram(published(), **SIZE).flows}
    assert ("P1: CARAFE", "B1") in arrows and ("P2", "B2") not in arrows
    changed = published(se_residual="all", keep_b6=True, csab_out="conv1x1", nlb_in="4C")
    arrows = {(flow.source, flow.target) for flow in network_diagram(changed, **SIZE).flows}
    assert {("P2", "B2"), ("P3", "B3"), ("B5", "B6")} <= arrows
    blocks = {block.name: block.text for block in site_diagram(changed, **SIZE).blocks}
    assert blocks["x + attention"] == "1024×14×14" and blocks["1×1 at the end"] == "256×14×14"
