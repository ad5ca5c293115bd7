"""CARAFE, the non-local block and the global context block: against plain arithmetic, and what they start as."""

import itertools
import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from reprolib.evaluation.cost import count_parameters, on_meta
from reprolib.models.layers.carafe import Carafe
from reprolib.models.layers.global_context import global_context
from reprolib.models.layers.non_local import NonLocal


def randomise(module, *, std=0.3):
    """Take a zero-initialised block off its starting point."""
    torch.manual_seed(7)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=std)
    return module.double()


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: Carafe(256), 74_148),
        (lambda: NonLocal(256), 65_984),
        (lambda: NonLocal(256, embedding=256), 263_168),
        (lambda: global_context(256), 8_753),
        (lambda: global_context(256, ratio=1 / 4), 33_473),
    ],
    ids=["carafe", "non-local", "full-width non-local", "global context", "global context 1/4"],
)
def test_parameters_at_256_channels(make, expected):
    assert count_parameters(on_meta(make))["params"] == expected


def carafe_scalar(x, kernels):
    """Every new pixel on its own: kernels [25,4,h,w] over the zero-padded 5x5 neighbourhood of the old pixel."""
    channels, height, width = x.shape
    result = x.new_zeros(channels, 2 * height, 2 * width)
    for y, column, a, b in itertools.product(range(height), range(width), range(2), range(2)):
        for i, j in itertools.product(range(5), range(5)):
            v, u = y + i - 2, column + j - 2
            if 0 <= v < height and 0 <= u < width:
                result[:, 2 * y + a, 2 * column + b] += kernels[5 * i + j, 2 * a + b, y, column] * x[:, v, u]
    return result


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_carafe_equals_a_scalar_loop(layout):
    module = randomise(Carafe(8))
    x = torch.randn(2, 8, 4, 6).double().contiguous(memory_format=layout)
    kernels = module.kernels(x)
    torch.testing.assert_close(kernels.sum(1), torch.ones(2, 4, 4, 6).double())
    assert kernels.std() > 0.01
    expected = torch.stack([carafe_scalar(*pair) for pair in zip(x, kernels, strict=True)])
    torch.testing.assert_close(module(x), expected)


def test_carafe_equals_unfolding_the_enlarged_map():
    """The published form: weights pixel-shuffled, neighbourhoods of the enlarged map with dilation 2."""
    module = randomise(Carafe(8))
    x = torch.randn(2, 8, 5, 7).double()
    weights = torch.pixel_shuffle(module.encode(module.compress(x)), 2).softmax(1)  # [2,25,10,14]
    enlarged = torch.nn.functional.interpolate(x, scale_factor=2, mode="nearest")
    patches = torch.nn.functional.unfold(enlarged, 5, dilation=2, padding=4).view(2, 8, 25, 10, 14)
    torch.testing.assert_close(module(x), torch.einsum("bckhw,bkhw->bchw", patches, weights))


def test_carafe_starts_as_a_mean_over_the_neighbourhood():
    torch.manual_seed(0)
    module, x = Carafe(16), torch.rand(1, 16, 9, 9)
    mean = torch.nn.functional.avg_pool2d(x, 5, stride=1, padding=2)
    torch.testing.assert_close(module(x), mean.repeat_interleave(2, 2).repeat_interleave(2, 3), rtol=0.02, atol=0.02)


class LargestTensor(TorchDispatchMode):
    """Notes the most elements that the result of any operator stores."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.elements = max(self.elements, result.untyped_storage().nbytes() // result.element_size())
        return result


def test_carafe_never_holds_25_copies():
    """Unfolding has 25 times the output; our largest tensor is the output, in the backward pass too."""
    module, x = Carafe(64), torch.rand(1, 64, 16, 16, requires_grad=True)
    output = 64 * 32 * 32
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes() // 4
        return tensor

    with LargestTensor() as forward, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        y = module(x)
    with LargestTensor() as backward:
        y.sum().backward()
    assert forward.elements == backward.elements == output
    assert sum(kept.values()) < 2 * output


def test_non_local_equals_a_sum_over_positions():
    for scaled in (False, True):
        block = randomise(NonLocal(8, embedding=3, scaled=scaled))
        x = torch.randn(1, 8, 3, 4).double()
        columns = x.flatten(2)[0].T  # [12,8]

        def embed(layer, rows=columns):
            return rows @ layer.weight.flatten(1).T + layer.bias

        phi, theta, g = embed(block.phi), embed(block.theta), embed(block.g)
        rows = []
        for i in range(12):
            weights = torch.stack([(phi[i] @ theta[j] / (math.sqrt(3) if scaled else 1)).exp() for j in range(12)])
            rows.append(sum(w * value for w, value in zip(weights / weights.sum(), g, strict=True)))
        z = embed(block.output, torch.stack(rows))
        torch.testing.assert_close(block(x), x + z.T.reshape(1, 8, 3, 4))


def test_global_context_equals_its_formula():
    block = randomise(global_context(16, ratio=1 / 4))
    x = torch.randn(2, 16, 3, 5).double()
    weights = block.conv_attn(x).flatten(1).softmax(1)
    context = torch.einsum("bcn,bn->bc", x.flatten(2), weights)
    hidden = context @ block.mlp_add.fc1.weight.flatten(1).T + block.mlp_add.fc1.bias
    centred = hidden - hidden.mean(1, keepdim=True)
    normal = centred / (centred.pow(2).mean(1, keepdim=True) + block.mlp_add.norm.eps).sqrt()
    hidden = (normal * block.mlp_add.norm.weight + block.mlp_add.norm.bias).relu()
    added = hidden @ block.mlp_add.fc2.weight.flatten(1).T + block.mlp_add.fc2.bias
    torch.testing.assert_close(block(x), x + added[:, :, None, None])


@pytest.mark.parametrize("make", [NonLocal, global_context], ids=["non-local", "global context"])
def test_identity_at_the_start_that_can_be_left(make):
    torch.manual_seed(0)
    block, x = make(32), torch.randn(2, 32, 6, 5)
    torch.testing.assert_close(block(x), x, rtol=0, atol=0)
    optimiser = torch.optim.SGD(block.parameters(), lr=1.0)
    for _ in range(2):
        optimiser.zero_grad()
        (block(x) * torch.linspace(-1, 1, 32)[:, None, None]).sum().backward()
        optimiser.step()
    assert (block(x) - x).abs().max() > 1e-3
    # Keys' and queries' biases (and the pooling's) shift all of a softmax's inputs alike; weights must all move.
    assert all(p.grad.abs().sum() > 0 for name, p in block.named_parameters() if name.endswith("weight"))


@pytest.mark.parametrize("make", [Carafe, NonLocal], ids=["carafe", "non-local"])
def test_no_maps_at_all(make):
    module = make(8)
    result = module(torch.zeros(0, 8, 14, 14))
    assert result.shape[:2] == (0, 8)
    (result.sum() * 0).backward()
    assert all(p.grad is not None and not p.grad.any() for p in module.parameters())


@pytest.mark.parametrize("make", [Carafe, NonLocal, global_context])
def test_one_channel_is_enough(make):
    assert make(1)(torch.rand(1, 1, 4, 4)).shape[1] == 1
