"""SEANet's RoI features, mask head and edges against hand cases."""

import math

import pytest
import torch
import torch.nn.functional as F

from reprolib.papers.seanet.edges import edge_labels, edge_loss, edge_weights
from reprolib.papers.seanet.mask_attention import EdgeAttentionMaskHead, PositionAttention
from reprolib.papers.seanet.roi_fusion import all_level_concat


def test_fused_features_are_one_linear_map_of_all_levels():
    """Maps of the constant values 1, 2, 3 and 4: the first convolution picks two channels of two levels."""
    pooler = all_level_concat(7, channels=3, dialect="mm")
    first, second = pooler.reduce
    with torch.no_grad():
        for conv in (first, second):
            conv.weight.zero_()
        first.weight[0, 0 * 3 + 1] = 1.0  # channel 1 of P2
        first.weight[0, 3 * 3 + 2] = -10.0  # channel 2 of P5: negative, so that an activation would show
        second.weight[2, 0], second.bias[2] = 1.0, 0.5
    levels = [torch.full((1, 3, 64 // stride, 64 // stride), float(i)) for i, stride in enumerate((4, 8, 16, 32), 1)]
    levels.append(torch.full((1, 3, 1, 1), float("nan")))  # P6 is not read
    boxes = [torch.tensor([[4.0, 4.0, 20.0, 24.0], [0.0, 0.0, 60.0, 60.0]])]
    fused = pooler(levels, boxes)
    assert fused.shape == pooler.placeholder(levels, 2).shape == (2, 3, 7, 7)
    torch.testing.assert_close(fused[:, 2], torch.full((2, 7, 7), 1.0 - 40.0 + 0.5))
    assert not fused[:, :2].any()
    assert pooler(levels, [torch.zeros(0, 4)]).shape == (0, 3, 7, 7)


@pytest.mark.parametrize("fuse", ["sum", "concat"])
def test_mask_head_is_the_published_one_layer_by_layer(fuse):
    """Steps a to j of the specification, written out."""
    torch.manual_seed(0)
    head = EdgeAttentionMaskHead(32, outputs=3, edge_fuse=fuse).double()
    x = torch.randn(2, 32, 14, 14, dtype=torch.double)
    torch.nn.init.ones_(head.position_attention.gamma)
    for name, parameter in head.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.1)
    w = head.state_dict()

    def conv(name, y, padding=0):
        return F.conv2d(y, w[f"{name}.weight"], w[f"{name}.bias"], padding=padding)

    def enlarge(name, y):
        return F.conv_transpose2d(y, w[f"{name}.weight"], w[f"{name}.bias"], stride=2).relu()

    seen = conv("channel_attention.convs.1", conv("channel_attention.convs.0", x))
    assert seen.shape == (2, 32, 6, 6)
    weights = F.linear(seen.mean((2, 3)), w["channel_attention.squeeze.weight"]).relu()
    weights = F.linear(weights, w["channel_attention.excite.weight"]).sigmoid()
    masks = x
    for index in range(4):
        masks = conv(f"convs.{index}", masks, padding=1).relu()
    masks = conv("join.1", conv("join.0", torch.cat([masks, x * weights[:, :, None, None]], dim=1)))
    masks = enlarge("upsample", masks)
    query, key, value = (conv(f"position_attention.{name}", x).flatten(2) for name in ("query", "key", "value"))
    attention = torch.einsum("rci,rcj->rij", query, key).softmax(-1)
    assert query.shape == (2, 4, 196)
    torch.testing.assert_close(head.position_attention.attention(x), attention)
    edges = torch.einsum("rij,rcj->rci", attention, value).view(2, 32, 14, 14) + x
    for index in range(4):
        edges = conv(f"edge_convs.{index}", edges, padding=1).relu()
    edges = enlarge("edge_upsample", edges)
    edge_map = conv("edge_predictor.1", conv("edge_predictor.0", edges, padding=1))[:, 0]
    fused = conv("fuse", masks + edges if fuse == "sum" else torch.cat([masks, edges], dim=1))
    logits, edge_logits = head.with_edges(x)
    torch.testing.assert_close(logits, conv("predictor", fused))
    torch.testing.assert_close(edge_logits, edge_map)
    assert logits.shape == (2, 3, 28, 28) and torch.equal(head(x), logits)


def test_position_attention_starts_as_the_identity():
    x, block = torch.randn(2, 16, 14, 14), PositionAttention(16)
    assert torch.equal(block(x), x)
    torch.nn.init.ones_(block.gamma)
    assert not torch.allclose(block(x), x)


def test_the_mask_loss_trains_the_edge_features_but_not_the_edge_map():
    head = EdgeAttentionMaskHead(16, outputs=2)
    head.with_edges(torch.randn(2, 16, 14, 14))[0].square().sum().backward()
    assert all(parameter.grad.any() for parameter in head.edge_convs.parameters())
    assert all(parameter.grad is None for parameter in head.edge_predictor.parameters())


@pytest.mark.parametrize("count", [0, 2])
def test_any_number_of_rois(count):
    head = EdgeAttentionMaskHead(8, outputs=2)
    logits, edges = head.with_edges(torch.randn(count, 8, 14, 14))
    assert logits.shape == (count, 2, 28, 28) and edges.shape == (count, 28, 28)
    (logits.sum() + edges.sum()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in head.parameters())


def grid(*rows):
    return torch.tensor([[float(cell == "#") for cell in row] for row in rows])[None]


SHAPES = grid("######", "######", "###...", "......", ".####.", ".####.", ".####.")


@pytest.mark.parametrize(
    ("switches", "expected"),
    [
        ({}, ("######", "#..###", "###...", "......", ".####.", ".#..#.", ".####.")),
        ({"border_counts": False}, ("......", "...###", "###...", "......", ".####.", ".#..#.", ".#..#.")),
        ({"thickness": 2}, ("######", "######", "###...", "......", ".####.", ".####.", ".####.")),
    ],
    ids=str,
)
def test_edges_of_a_drawn_mask(switches, expected):
    """In the second row the third cell has its four neighbours: background across its corner makes no edge."""
    assert torch.equal(edge_labels(SHAPES, **switches), grid(*expected))


@pytest.mark.parametrize("thickness", [1, 2])
@pytest.mark.parametrize("border_counts", [True, False])
def test_edges_are_within_reach_of_the_background(thickness, border_counts):
    """A plain reference: a mask pixel with background at most `thickness` steps away, along rows and columns."""
    masks = (torch.rand(4, 9, 12, generator=torch.Generator().manual_seed(0)) > 0.1).float()
    expected = torch.zeros_like(masks)
    for index, y, x in masks.nonzero().tolist():
        for dy in range(-thickness, thickness + 1):
            for dx in range(abs(dy) - thickness, thickness - abs(dy) + 1):
                inside = 0 <= y + dy < 9 and 0 <= x + dx < 12
                background = masks[index, y + dy, x + dx] == 0 if inside else border_counts
                expected[index, y, x] = max(expected[index, y, x], float(background))
    assert 0 < expected.sum() < masks.sum()
    assert torch.equal(edge_labels(masks, thickness=thickness, border_counts=border_counts), expected)


def test_weights_of_equation_2():
    """Shares of 0, 5 and 14% of 100 pixels; 6.33% of all."""
    labels = torch.zeros(3, 10, 10)
    labels[1, 0, :5], labels[2, 0], labels[2, 1, :4] = 1, 1, 1
    per_roi = edge_weights(labels, scope="formula_roi")
    assert per_roi[1, 0, 0].item() == pytest.approx(4.48, abs=5e-3)
    assert per_roi[2, 0, 0].item() == pytest.approx(3.42, abs=5e-3)
    together = edge_weights(labels, scope="formula_batch")
    assert together[labels > 0].tolist() == pytest.approx([1 / math.log(1.2 + 19 / 300)] * 19)
    constant = edge_weights(labels, scope="const5")
    assert (constant[labels > 0] == 5).all()
    assert all((weights[labels == 0] == 1).all() for weights in (per_roi, together, constant))
    with pytest.raises(ValueError, match="edge_weight must be one of formula_roi"):
        edge_weights(labels, scope="image")


def test_edge_loss_of_two_pixels():
    logits, labels = torch.tensor([[[2.0, -1.0]]], requires_grad=True), torch.tensor([[[1.0, 0.0]]])
    weight = 1 / math.log(1.2 + 1 / 2)
    expected = (weight * math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-1))) / 2
    assert edge_loss(logits, labels, scope="formula_roi").item() == pytest.approx(expected)
    nothing = edge_loss(logits[:0], labels[:0], scope="formula_batch")
    nothing.backward()
    assert nothing == 0 and not logits.grad.any()
    assert edge_loss(logits.detach(), torch.zeros_like(labels), scope="formula_roi").isfinite()
