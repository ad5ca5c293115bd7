"""What the notebook of Insight Any Instance shows: shapes, crops, attention, the spectrum, the area loss."""

from __future__ import annotations

import pytest
import torch

from reprolib.evaluation.cost import on_meta
from reprolib.figures.network import draw_network
from reprolib.models.input_transform import InputSize
from reprolib.papers.insight_any_instance import model as insight
from reprolib.papers.insight_any_instance.diagram import network_diagram
from reprolib.papers.insight_any_instance.inside import (
    area_costs,
    block_shapes,
    blocks,
    prompt_view,
    prompts_of,
    shape_costs,
    spectrum_view,
)
from reprolib.params import Scale

THIN = Scale(
    backbones={"resnet50": "test_resnet"},
    norm="group",
    pretrained=False,
    frozen_stages=0,
    channels=16,
    box_hidden=16,
    anchor_sizes=(8, 16, 32, 64, 128),
)
BOXES = torch.tensor([[4.0, 5, 40, 30], [20, 10, 60, 47]])


def build(*components: str, **switches):
    torch.manual_seed(0)
    input_size = InputSize(min_sizes=(96,), test_size=96, max_size=200)
    return insight.build(
        num_classes=3, backbone="resnet50", components=components, scale=THIN, input_size=input_size, **switches
    )


@pytest.fixture
def image():
    return torch.rand(3, 48, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("host", ["mask_rcnn", "cascade_mask_rcnn", "scnet"])
@pytest.mark.parametrize("components", [(), ("lpm",), ("gpm",), ("lpm", "gpm", "parea")], ids="+".join)
def test_every_network_has_shapes_and_a_diagram(host, components):
    model = on_meta(lambda: build(*components, host=host))
    shapes = {row["block"]: row for row in block_shapes(model, height=64, width=96)}
    assert shapes.keys() == blocks(model).keys()
    assert ("LPM" in shapes, "GPM" in shapes) == ("lpm" in components, "gpm" in components)
    if "gpm" in components:
        assert shapes["GPM: patches of the image"]["output"] == "24×16"
        assert shapes["GPM"]["output"] == "16×14×14"
    diagram = network_diagram(model, height=64, width=96)
    texts = " ".join(block.text for block in diagram.blocks)
    assert ("PAreaLoss" in texts) == ("parea" in components)
    assert ("24×16" in texts) == ("gpm" in components)
    if host == "mask_rcnn":
        assert draw_network(diagram).png


@pytest.mark.parametrize("switches", [{}, {"g2l_proj": True, "share_loop_weights": True}, {"gpm_loops": 2}], ids=str)
def test_the_view_is_what_the_mask_head_gets(image, switches):
    model = build("lpm", "gpm", **switches).eval()
    view = prompt_view(model, image, BOXES)
    encoded = model.encode(image)
    with torch.no_grad():
        whole = prompts_of(model)(encoded.features, [2 * BOXES])  # the network sees twice the size
    torch.testing.assert_close(view.local_prompts + view.global_prompts, whole)
    assert view.crops.shape == view.spectra.shape == (2, 3, 28, 28)
    torch.testing.assert_close(view.crops, view.spectra, rtol=0, atol=1e-5)  # its numbers start at zero
    assert len(view.attention) == switches.get("gpm_loops", 3)
    for maps in view.attention:
        assert maps.shape == (2, 6, 8)
        torch.testing.assert_close(maps.sum((1, 2)), torch.ones(2))


def test_crops_show_the_image(image):
    flat = image.clone()
    flat[:] = torch.tensor([0.9, 0.1, 0.4])[:, None, None]
    view = prompt_view(build("gpm"), flat, BOXES)
    torch.testing.assert_close(view.crops, flat[None, :, :28, :28].expand(2, -1, -1, -1))
    assert view.spectra is None and view.local_prompts is None


def test_attention_is_of_the_module_itself(image):
    """Weights times values are the answers that the forward pass adds."""
    model = build("gpm", gpm_loops=1, g2l_residual=False).eval()
    module = prompts_of(model).global_prompts
    crops, tokens = torch.randn(2, 3, 28, 28), torch.randn(1, 6, 16)
    with torch.no_grad():
        found = module(crops, [[tokens]], [2]).flatten(2).transpose(1, 2)
        local = module.local_layers[0](module.local_patches(crops) + _places(module))
        torch.testing.assert_close(module.attention(local, tokens, 0) @ tokens, found, rtol=1e-4, atol=1e-5)


def _places(module):
    from reprolib.papers.insight_any_instance.tokens import places

    return places(14, 14, module.local_patches.conv.out_channels, device=torch.device("cpu"))


def test_a_host_has_no_prompts_to_show(image):
    assert prompts_of(build()) is None
    with pytest.raises(ValueError, match="no prompts: add the component 'lpm' or 'gpm'"):
        prompt_view(build(), image, BOXES)


def test_adding_is_the_same_for_every_crop_and_multiplying_is_not():
    crops = torch.randn(4, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    add, multiply = (spectrum_view(crops, operation=name) for name in ("add", "multiply"))
    assert add.spread < 1e-5 < 0.05 < add.added.std()
    assert multiply.spread > 0.1


def test_the_curves_of_the_area_loss():
    ratios = torch.tensor([0.25, 0.5, 1.0, 1.44, 2.0, 4.0])
    costs = area_costs(ratios)
    torch.testing.assert_close(costs["every box (literal)"], (ratios - 1) ** 2, rtol=1e-3, atol=1e-5)
    assert costs["matched boxes"].isfinite().tolist()[2:4] == [True, True]
    assert costs["matched boxes"].isnan().tolist()[::5] == [True, True]
    shapes = shape_costs(torch.tensor([0.25, 1.0, 4.0]))
    assert shapes["area loss"].abs().max() < 1e-6
    torch.testing.assert_close(shapes["1 − IoU"], torch.tensor([2 / 3, 0, 2 / 3]), rtol=1e-3, atol=1e-5)
