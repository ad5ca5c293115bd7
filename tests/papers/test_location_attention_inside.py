"""What the notebook of location attention shows: the numbers are those that the network computes with."""

import pytest
import torch
from torch import nn

from reprolib.evaluation.cost import on_meta
from reprolib.models.input_transform import InputSize
from reprolib.models.systems.solov2 import model as solov2
from reprolib.papers.location_attention import model as location_attention
from reprolib.papers.location_attention.diagram import network_diagram
from reprolib.papers.location_attention.inside import (
    attention_views,
    attentions,
    block_shapes,
    contests,
    grids,
)
from reprolib.papers.location_attention.switches import COMPONENTS
from reprolib.params import Scale

PUBLISHED = {"num_classes": 80, "backbone": "resnet50", "scale": Scale(pretrained=False), "input_size": InputSize()}
THIN = Scale(
    backbones={"resnet50": "test_resnet"},
    norm="group",
    pretrained=False,
    frozen_stages=0,
    channels=32,
    anchor_sizes=(8, 16, 32, 64, 128),
)
SMALL = InputSize(min_sizes=(64,), test_size=64, max_size=64)
SIZE = {"height": 704, "width": 1216}


def published(components=COMPONENTS, **switches):
    return on_meta(lambda: location_attention.build(components=components, **PUBLISHED, **switches))


def thin(components=COMPONENTS, **switches):
    torch.manual_seed(0)
    parts = {"num_classes": 2, "backbone": "resnet50", "scale": THIN, "input_size": SMALL}
    return location_attention.build(components=components, **parts, **switches)


@pytest.fixture
def image():
    """60x50, which becomes 64x53 and is padded to 64x64."""
    return torch.rand((3, 60, 50), generator=torch.Generator().manual_seed(0))


def target():
    """Two objects that share cells, the nearer to the middle first, and one alone."""
    boxes = torch.tensor([[20.0, 16, 44, 40], [10, 14, 34, 38], [2, 48, 12, 58]])
    masks = torch.zeros(3, 60, 50, dtype=torch.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.long().tolist(), strict=True):
        mask[y0:y1, x0:x1] = 1
    return {"boxes": boxes, "labels": torch.tensor([1, 2, 1]), "masks": masks}


def test_shapes_of_the_published_blocks():
    rows = {row["block"]: row for row in block_shapes(published(), **SIZE)}
    assert rows["C3: position attention"] == {
        "block": "C3: position attention",
        "input": "256×88×152",
        "output": "256×88×152",
        "parameters": 32_065,
    }
    assert rows["C2..C5: backbone"]["parameters"] == 19_540_995
    assert rows["mask feature: with level 4"]["input"] == "384×44×76"
    assert rows["mask feature"]["output"] == "256×176×304" and rows["mask feature"]["parameters"] == 1_691_904
    assert rows["kernels"]["output"] == "256×40×40" and rows["categories"]["output"] == "80×40×40"


def test_blocks_of_solov2():
    rows = {row["block"]: row for row in block_shapes(on_meta(lambda: solov2.build(**PUBLISHED)), **SIZE)}
    assert rows["mask feature"]["parameters"] == 1_659_392
    assert not any("attention" in name or name.startswith("N") for name in rows)


@pytest.mark.parametrize("switches", [{}, {"csp_impl": "timm_cspresnet50"}], ids=str)
@pytest.mark.parametrize(("wanted", "stages"), [("345", [3, 4, 5]), ("5", [5]), ("none", [])])
def test_attention_is_found_by_stage(wanted, stages, switches):
    assert list(attentions(published(pam_stages=wanted, **switches))) == stages


DRAWN = [
    ((), {}),
    (("cspam",), {"pam_stages": "5"}),
    (("twfpn+csmf",), {"csmf_levels_from": "P", "guide": "concat"}),
    (("twfpn+csmf", "aml"), {"head_inputs": "P", "guide": "mul_sigmoid"}),
    (COMPONENTS, {}),
]


@pytest.mark.parametrize(("components", "switches"), DRAWN, ids=str)
def test_diagrams_show_what_is_built(components, switches):
    drawn = network_diagram(published(components, **switches), **SIZE)
    text = {block.name: block.text for block in drawn.blocks}
    arrows = {(flow.source, flow.target) for flow in drawn.flows}
    two_way = "twfpn+csmf" in components
    kinds = ["cross-stage backbone" if "cspam" in components else "backbone", "FPN"]
    kinds += ["bottom-up path", "cross-stage mask feature"] if two_way else ["unified mask feature"]
    assert drawn.kinds == [*kinds, "cells of five grids", ""]
    assert ("N6" in text) == (two_way and switches.get("head_inputs") != "P") and ("P6" in text) == ("N6" not in text)
    assert (kinds[2] if "N6" in text else "FPN", "level, x, y: resized") in arrows
    attended = {name for name in text if name.endswith("+ attention")}
    wanted = {"345": {3, 4, 5}, "5": {5}}[switches.get("pam_stages", "345")] if "cspam" in components else set()
    assert attended == {f"C{stage} + attention" for stage in wanted}
    if two_way:
        letter = switches.get("csmf_levels_from", "N")
        assert text[f"[×2, {letter}3]: 3×3"] == "384×88×152 → 128×88×152"
        assert ("P5", "guide: 1×1, ×8") in arrows and (f"{letter}4", f"[×2, {letter}4]: 3×3") in arrows


def test_attention_on_an_image(image):
    model = thin()
    views = attention_views(model, image)
    assert list(views) == [3, 4, 5]
    view = views[3]
    assert view.size == (8, 8) and view.inside == (8, 7)  # stride 8; 53 of 64 columns are the image's
    assert view.before.shape == view.after.shape == (24, 8, 7)
    torch.testing.assert_close(view.weights.sum(1), torch.ones(64))
    # The last column of the image, the second row.
    assert torch.equal(view.at(0.99, 0.2), view.weights[8 + 6].reshape(8, 8)[:, :7])


def test_attention_shown_is_the_blocks():
    """Of an image that needs no padding, whose maps are shown whole."""
    model = thin()
    for stage, view in attention_views(model, torch.rand(3, 60, 60)).items():
        block = attentions(model)[stage]
        with torch.no_grad():
            torch.testing.assert_close(block.attention(view.before[None])[0], view.weights)
            torch.testing.assert_close(block(view.before[None])[0], view.after)


def test_which_cell_learns_which_object(image):
    model = thin(("aml",))
    found = grids(model, image, target())
    assert [grid.level for grid in found] == list(model.head.levels)
    for grid in found:
        assert grid.count.shape == grid.last.shape == grid.least.shape == (grid.level.grid,) * 2
        assert torch.equal(grid.count > 0, grid.last > 0) and torch.equal(grid.count > 0, grid.least > 0)
        single = grid.count < 2
        assert torch.equal(grid.last[single], grid.least[single])
    contested = [(grid.last[grid.count > 1], grid.least[grid.count > 1]) for grid in found]
    assert any(len(last) for last, _ in contested)
    # Objects of one size claim the same levels, so that the second is the last; masks start nearer to the first.
    assert all((last == 2).all() and (least == 1).all() for last, least in contested)


def test_contests_say_why(image):
    model = thin(("aml",))
    rows = contests(model, image, target())
    count = sum(int((grid.count > 1).sum()) for grid in grids(model, image, target()))
    assert len(rows) == 2 * count > 0
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        assert (first["grid"], first["cell"]) == (second["grid"], second["cell"])
        assert (first["object"], second["object"]) == (1, 2)
        assert 1 <= first["sigmoid + sigmoid"] < second["sigmoid + sigmoid"] < 2
        assert (first["AML"], second["AML"], first["last"], second["last"]) == ("✓", "", "", "✓")
    alone = {key: value[2:] for key, value in target().items()}
    assert contests(model, image, alone) == []


def test_models_stay_in_evaluation_and_untouched(image):
    model = thin().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    attention_views(model, image)
    grids(model, image, target())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules() if isinstance(module, nn.Module))
