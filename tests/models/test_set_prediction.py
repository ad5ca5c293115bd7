"""What query-based systems share: assignment and its costs by hand, transformer layers, detections without NMS."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.given_instances import drawn_boxes
from reprolib.models.detections import DetectionRule
from reprolib.models.layers.point_sampling import map_points, regular_grid
from reprolib.models.layers.transformer import (
    Attention,
    AttentionBlock,
    DecoderLayer,
    FeedForwardBlock,
    heads_of,
    perceptron,
    sine_positions,
    tokens,
)
from reprolib.models.queries.assignment import (
    binary_cross_entropy_cost,
    dice_cost,
    focal_class_cost,
    focal_cost,
    hungarian,
    squared_dice_cost,
)
from reprolib.models.queries.query_inference import best_pairs, mask_quality, query_detections
from reprolib.models.systems.mask2former.deformable_attention import DeformableAttention

# Assignment


def test_the_assignment_has_the_least_sum_of_all_permutations():
    cost = torch.rand((5, 4), generator=torch.Generator().manual_seed(3))
    rows, columns = hungarian(cost)
    least = min(sum(cost[row, i] for i, row in enumerate(some)) for some in itertools.permutations(range(5), 4))
    assert cost[rows, columns].sum() == pytest.approx(float(least))
    assert rows.tolist() == sorted(rows.tolist()) and sorted(columns.tolist()) == [0, 1, 2, 3]


def test_the_assignment_is_not_greedy():
    # The greedy one takes (0, 0) for 0 and then has to pay 10 for (1, 1).
    rows, columns = hungarian(torch.tensor([[0.0, 1.0], [1.0, 10.0]]))
    assert (rows.tolist(), columns.tolist()) == ([0, 1], [1, 0])


def test_the_assignment_of_few_predictions_of_none_and_of_no_numbers():
    rows, columns = hungarian(torch.tensor([[3.0, 1.0, 2.0]]))
    assert (rows.tolist(), columns.tolist()) == ([0], [1])
    assert all(not len(one) for one in hungarian(torch.zeros(4, 0)))
    rows, columns = hungarian(torch.tensor([[math.nan, 1.0], [2.0, math.inf]]))
    assert (rows.tolist(), columns.tolist()) == ([0, 1], [1, 0])


# What pairs cost


@pytest.fixture
def pairs():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn((3, 7), generator=generator) * 2
    return logits, (torch.rand((2, 7), generator=generator) > 0.5).float()


def by_loop(logits, wanted, cost):
    return torch.stack([torch.stack([cost(one, other) for other in wanted]) for one in logits])


def test_cross_entropy_of_pairs_is_that_of_each(pairs):
    expected = by_loop(*pairs, F.binary_cross_entropy_with_logits)
    torch.testing.assert_close(binary_cross_entropy_cost(*pairs), expected)


def test_focal_cost_of_pairs_is_that_of_each(pairs):
    def focal(logits, wanted):
        p = logits.sigmoid()
        right = torch.where(wanted > 0, p, 1 - p)
        return (torch.where(wanted > 0, 0.25, 0.75) * (1 - right) ** 2 * -right.log()).mean()

    torch.testing.assert_close(focal_cost(*pairs), by_loop(*pairs, focal))


def test_dice_costs_by_hand():
    p, q = torch.tensor([[1.0, 0.5, 0.0]]), torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    # (2 + 1) / (1.5 + 1 + 1), and (0 + 1) / 3.5.
    torch.testing.assert_close(dice_cost(p, q), torch.tensor([[1 - 3 / 3.5, 1 - 1 / 3.5]]))
    squared = squared_dice_cost(p, q, epsilon=0.0)
    torch.testing.assert_close(squared, torch.tensor([[1 - 2 / 2.25, 1.0]]))
    assert squared_dice_cost(torch.zeros(1, 3), torch.zeros(1, 3), epsilon=1e-3).item() == 1


def test_class_costs_by_hand():
    logits, labels = torch.tensor([[0.0, 2.0]]), torch.tensor([1, 2, 1])
    p = 1 / (1 + math.exp(-2))
    likely = 0.25 * (1 - p) ** 2 * -math.log(p) - 0.75 * p**2 * -math.log(1 - p)
    even = (0.25 - 0.75) * 0.25 * math.log(2)
    torch.testing.assert_close(focal_class_cost(logits, labels), torch.tensor([[even, likely, even]]))


# Layers


def test_attention_is_torchs_own():
    torch.manual_seed(0)
    ours, theirs = Attention(16), nn.MultiheadAttention(16, 8, batch_first=True)
    nn.init.normal_(ours.bias)
    theirs.load_state_dict(
        dict(
            zip(
                ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"),
                (ours.weight, ours.bias, ours.output.weight, ours.output.bias),
                strict=True,
            )
        )
    )
    query, key, value = torch.randn(2, 3, 16), torch.randn(2, 5, 16), torch.randn(2, 5, 16)
    allowed = torch.rand(2, 3, 5) > 0.4
    allowed[..., 0] = True
    found = ours(query, key, value, allowed=allowed[:, None])
    expected = theirs(query, key, value, attn_mask=~allowed.repeat_interleave(8, 0), need_weights=False)[0]
    torch.testing.assert_close(found, expected)


def test_counts_of_layers():
    def count(module):
        return sum(parameter.numel() for parameter in module.parameters())

    assert count(AttentionBlock(256)) == 263_168 + 512
    assert count(FeedForwardBlock(256, hidden=2048)) == 1_050_880 + 512
    assert count(DecoderLayer(256, hidden=2048)) == 1_578_752
    assert count(perceptron(256, out_channels=256)) == 3 * 65_792
    assert count(DeformableAttention(256)) == 205_600
    assert [heads_of(width) for width in (256, 48, 12)] == [8, 8, 4]


def test_positions_are_in_queries_and_keys_and_not_in_values():
    block = AttentionBlock(8)
    nn.init.eye_(block.attention.output.weight)
    block.attention.weight.data[16:] = torch.eye(8)
    x, position = torch.randn(1, 1, 8), torch.randn(1, 8)
    # A single memory is looked at with weight 1, whatever its position: the value itself arrives.
    memory = torch.randn(1, 1, 8)
    found = block(x, position=position, memory=memory, memory_position=position)
    torch.testing.assert_close(found, F.layer_norm(x + memory, (8,)))


def test_sine_positions_by_hand():
    table = sine_positions((2, 4), 8)
    assert table.shape == (8, 8)
    y, x = 2 / 2 * 2 * math.pi, 3 / 4 * 2 * math.pi  # row 1, column 2
    expected = [math.sin(y), math.cos(y), math.sin(y / 100), math.cos(y / 100)]
    expected += [math.sin(x), math.cos(x), math.sin(x / 100), math.cos(x / 100)]
    torch.testing.assert_close(table[1 * 4 + 2], torch.tensor(expected), atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="divisible by 4"):
        sine_positions((2, 2), 6)


def test_tokens_and_places_go_row_by_row():
    x = torch.arange(12.0).view(1, 2, 2, 3)
    assert tokens(x)[0, :, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert map_points((2, 3))[4].tolist() == pytest.approx([0.5, 0.75])
    assert torch.equal(map_points((3, 3)), regular_grid(3))


# Deformable attention


def sampled(image, x, y):
    """Bilinear value of [C,h,w] at (x, y) in pixels whose centres are whole numbers; 0 beyond."""
    height, width = image.shape[1:]
    total = torch.zeros(image.shape[0])
    for row, column in itertools.product((math.floor(y), math.floor(y) + 1), (math.floor(x), math.floor(x) + 1)):
        if 0 <= row < height and 0 <= column < width:
            total = total + image[:, row, column] * (1 - abs(y - row)) * (1 - abs(x - column))
    return total


def test_deformable_attention_is_that_of_a_loop():
    torch.manual_seed(2)
    layer, sizes = DeformableAttention(16, levels=2, points=3), [(3, 4), (5, 2)]
    for linear in (layer.offsets, layer.weights):
        nn.init.normal_(linear.weight, std=0.3)
    query, places, values = torch.randn(2, 6, 16), torch.rand(6, 2), torch.randn(2, 22, 16)
    value, offsets = layer.value(values), layer.offsets(query).view(2, 6, 8, 2, 3, 2)
    weights = layer.weights(query).view(2, 6, 8, 6).softmax(-1).view(2, 6, 8, 2, 3)
    expected = torch.zeros(2, 6, 16)
    for image, place, head in itertools.product(range(2), range(6), range(8)):
        for level, (height, width) in enumerate(sizes):
            own = value[image, 12 * level : 12 + 10 * level, 2 * head : 2 * head + 2].T.unflatten(1, (height, width))
            for point in range(3):
                dx, dy = offsets[image, place, head, level, point].tolist()
                x, y = (places[place] * torch.tensor([width, height])).tolist()
                seen = sampled(own, x + dx - 0.5, y + dy - 0.5)
                weight = weights[image, place, head, level, point]
                expected[image, place, 2 * head : 2 * head + 2] += weight * seen
    torch.testing.assert_close(layer(query, places, values, sizes), layer.output(expected), atol=1e-5, rtol=1e-4)


def test_heads_look_into_eight_directions_at_first():
    first = DeformableAttention(64)._first_offsets()
    assert first.shape == (8, 3, 4, 2)
    torch.testing.assert_close(first[0, 1], torch.tensor([[1.0, 0], [2, 0], [3, 0], [4, 0]]))
    torch.testing.assert_close(first[3, 0, 1], torch.tensor([-2.0, 2.0]))


# Detections


def test_best_pairs_and_quality_by_hand():
    queries, labels, scores = best_pairs(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), 3)
    assert (queries.tolist(), labels.tolist()) == ([0, 1, 1], [2, 1, 2])
    assert scores.tolist() == pytest.approx([0.9, 0.8, 0.2])
    logits = torch.full((2, 2, 2), -1.0)
    logits[0, 0, 0], logits[0, 1, 1] = 2.0, 3.0
    inside = mask_quality(logits, image_size=(4, 4))  # the second mask pixel lies in the padding
    assert inside.tolist() == pytest.approx([1 / (1 + math.exp(-2)), 0])


def test_detections_are_sorted_after_the_quality_and_empty_masks_left_out():
    scores = torch.tensor([[0.9, 0.05], [0.8, 0.3], [0.7, 0.0]])
    maps = drawn_boxes(torch.tensor([[0.0, 0, 2, 4], [4, 4, 8, 8]]), (8, 8)) + 0.5
    maps = torch.cat([maps, torch.full((1, 8, 8), -1.0)])
    found = query_detections(
        scores,
        maps,
        rule=DetectionRule(score_threshold=0.1, detections=4),
        image_size=(32, 32),
        original_size=(64, 64),
        quality=torch.tensor([0.5, 1.0, 1.0]),
    )
    assert found["scores"].tolist() == pytest.approx([0.8, 0.45, 0.3]) and found["labels"].tolist() == [1, 1, 2]
    torch.testing.assert_close(found["boxes"][1], torch.tensor([0.0, 0, 16, 32]), atol=1, rtol=0)
    assert torch.equal(found["masks"][0], found["masks"][2])
    assert found["masks"][0, 34:, 34:].all() and not found["masks"][0, :30].any()
