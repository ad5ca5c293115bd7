"""SOTR: counts, attention along lines by hand, the identity at the start, what reads the transformer."""

from __future__ import annotations

import pytest
import torch

from reprolib.evaluation.cost import count_parameters, on_meta
from reprolib.models.input_transform import InputSize
from reprolib.models.systems.solov2 import model as solov2
from reprolib.models.systems.sotr import model as sotr
from reprolib.models.systems.sotr.twin_transformer import LineAttention, TwinLayer, TwinTransformer
from reprolib.params import Scale


def published(backbone="resnet50", num_classes=80, **switches):
    arguments = {"num_classes": num_classes, "backbone": backbone, "scale": Scale(), "input_size": InputSize()}
    return on_meta(lambda: sotr.build(**arguments | switches))


@pytest.mark.parametrize(("backbone", "count"), [("resnet50", 63_217_344), ("resnet101", 82_209_472)])
def test_parameters_are_as_counted(backbone, count):
    assert count_parameters(published(backbone))["params"] == count


def test_parameters_by_part():
    model = published()
    branches = model.head.branches
    assert count_parameters(branches.transformer)["params"] == 34_621_488
    layer = branches.transformer.layers[0]
    attention = [count_parameters(one)["params"] for one in (layer.columns, layer.rows)]
    convs = [count_parameters(one)["params"] for one in (layer.first, layer.second)]
    assert sum(attention) + 2 == 524_802 and sum(convs) + 2 == 2_360_322
    assert sum(count_parameters(one)["params"] for one in (branches.category, branches.kernel)) == 86_352
    assert count_parameters(model.head.mask_feature)["params"] == 1_657_088
    assert count_parameters(model)["params"] - count_parameters(published(num_classes=79))["params"] == 257


@pytest.mark.parametrize("double_width", [False, True])
def test_the_transformer_starts_as_the_identity(double_width):
    torch.manual_seed(0)
    transformer, x = TwinTransformer(16, layers=3, double_width=double_width), torch.randn(2, 16, 5, 7)
    assert torch.equal(transformer(x), x)


def test_attention_along_a_line_by_hand():
    torch.manual_seed(0)
    attention, x = LineAttention(16), torch.randn(3, 5, 16)
    assert attention.heads == 8
    query, (key, value) = attention.query(x), attention.key_value(x).chunk(2, dim=2)
    for line in range(3):
        heads = []
        for head in range(8):
            some = slice(2 * head, 2 * head + 2)
            weights = (query[line, :, some] @ key[line, :, some].T / 2**0.5).softmax(1)
            heads.append(weights @ value[line, :, some])
        torch.testing.assert_close(attention(x)[line], attention.output(torch.cat(heads, dim=1)))


def woken(layer, *, which):
    """A layer of which one term alone counts."""
    with torch.no_grad():
        layer.factors.zero_()[which] = 1.0
    return layer


@pytest.mark.parametrize("which", [0, 1], ids=["columns", "rows"])
def test_columns_and_rows_see_themselves_alone(which):
    torch.manual_seed(0)
    layer, x = woken(TwinLayer(8), which=which), torch.randn(1, 8, 4, 6)
    changed = x.clone()
    changed[:, :, 2, 3] += 1
    touched = ((layer(changed) - layer(x)).abs().amax((0, 1)) > 1e-6).nonzero().tolist()
    line = [[row, 3] for row in range(4)] if which == 0 else [[2, column] for column in range(6)]
    assert touched == line


def test_both_terms_of_a_sum_read_the_same():
    torch.manual_seed(0)
    layer, x = TwinLayer(8), torch.randn(2, 8, 4, 6)
    terms = [woken(layer, which=which)(x) - x for which in range(4)]
    with torch.no_grad():
        layer.factors.copy_(torch.tensor([0.5, -2.0, 0.0, 0.0]))
    torch.testing.assert_close(layer(x), x + 0.5 * terms[0] - 2 * terms[1])
    with torch.no_grad():
        layer.factors.copy_(torch.tensor([0.0, 0.0, 3.0, 0.25]))
    torch.testing.assert_close(layer(x), x + 3 * terms[2] + 0.25 * terms[3])


def test_double_width_leaves_attention_as_it_is():
    """A softmax over doubled tokens is the same one; the convolutions see the seam."""
    torch.manual_seed(0)
    transformer, x = TwinTransformer(8, layers=2), torch.randn(1, 8, 4, 6)
    for layer in transformer.layers:
        with torch.no_grad():
            layer.factors.copy_(torch.tensor([1.0, 1.0, 0.0, 0.0]))
    once = transformer(x)
    transformer.double_width = True
    torch.testing.assert_close(transformer(x), once)
    with torch.no_grad():
        transformer.layers[0].factors[2] = 1.0
    twice = transformer(x)
    transformer.double_width = False
    apart = (transformer(x) - twice).abs().amax((0, 1, 2)) > 1e-5
    assert apart[0] and apart[-1]


@pytest.fixture
def build(thin_scale, input_size):
    def built(**switches):
        torch.manual_seed(0)
        arguments = {"num_classes": 2, "backbone": "resnet50", "scale": thin_scale, "input_size": input_size}
        return sotr.build(**arguments | switches)

    return built


def test_the_mask_feature_reads_the_transformers_p5(build):
    head = build().eval().head
    assert head.mask_feature.levels[3][0][0].in_channels == 32  # no coordinates
    pyramid = [torch.randn(1, 32, side, side) for side in (16, 8, 4, 2, 1)]
    before = head(pyramid)
    seen = []
    head.mask_feature.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        for layer in head.branches.transformer.layers:
            layer.factors.fill_(0.3)
    after = head(pyramid)
    (maps,) = seen
    assert all(torch.equal(*pair) for pair in zip(maps[:3], pyramid[:3], strict=True))
    torch.testing.assert_close(maps[3], head.branches.transformer(pyramid[3]))
    assert not torch.allclose(before.mask_feature, after.mask_feature)


def test_what_is_not_the_transformer_is_solov2s(build, thin_scale, input_size):
    other = solov2.build(num_classes=2, backbone="resnet50", scale=thin_scale, input_size=input_size)
    head = build().head
    assert head.levels == other.head.levels and head.rule == other.head.rule
    assert torch.equal(head.noise, other.head.noise) and head.assign == other.head.assign
    assert head.criterion == other.head.criterion


def test_positions_are_a_switch(build):
    head = build(sotr_pos_embed=True).head
    x = torch.zeros(1, 32, 4, 4)
    assert head.branches.transformer(x).std() > 0.1 and not build().head.branches.transformer(x).any()
    with pytest.raises(ValueError, match="collision must be one of both_masks, last_wins"):
        build(collision="first")
