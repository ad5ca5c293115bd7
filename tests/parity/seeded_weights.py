"""Weights by a rule over the reference's own parameter names, so that two models share them without a weight file.

The numbers of a parameter depend on its name and shape alone: the generator is seeded by a hash of the name. Matrices
and kernels are normal with variance 2 / fan-in, which keeps the activations of a network with ReLU near 1; statistics
of norms are away from 0 and 1, so that a norm left out or at a wrong place is seen.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn


def seeded_values(name: str, shape: tuple[int, ...], *, damping: Mapping[str, float]) -> Tensor:
    """The values of the reference's parameter or buffer `name`, of this shape, float32.

    damping: regular expression -> factor; the factors of all expressions that the name contains are multiplied in.
    """
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    normal = torch.randn(shape, generator=generator, dtype=torch.float32)
    if name.endswith("running_var"):
        return 0.5 + torch.rand(shape, generator=generator, dtype=torch.float32)
    if name.endswith("running_mean"):
        return 0.1 * normal
    if len(shape) > 1:
        values = normal * (2 / (normal[0].numel() or 1)) ** 0.5
    elif name.endswith("weight"):  # of a norm
        values = 0.7 + 0.1 * normal
    else:
        values = 0.1 * normal
    for expression, factor in damping.items():
        if re.search(expression, name):
            values = values * factor
    return values


def is_filled(name: str) -> bool:
    """Whether the reference's state of this name is part of the function it computes; counters of batches are not."""
    return not name.endswith("num_batches_tracked")


@torch.no_grad()
def fill(model: nn.Module, *, damping: Mapping[str, float]) -> dict[str, tuple[int, ...]]:
    """Give the reference's model its seeded weights; returns the shapes of what was filled, by name."""
    shapes = {}
    for name, value in model.state_dict().items():
        if is_filled(name):
            shapes[name] = tuple(value.shape)
            value.copy_(seeded_values(name, shapes[name], damping=damping))
    return shapes
