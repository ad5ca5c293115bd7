"""For which operators CUDA makes the host wait, by what torch 2.11 and torchvision 0.26 do for them."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

import torch
from torch import Tensor

READ = "a value read by the host"
COPIED = "numbers of the host copied to the device"  # from memory that is not pinned
MASKED = "indexing with a boolean mask"
# Operators whose result's shape, or whose result itself, the host needs.
ALWAYS = {
    "aten::_local_scalar_dense": READ,  # item, int, float, bool, if
    "aten::equal": READ,
    "aten::nonzero": "nonzero",  # also where(mask)
    "aten::argwhere": "nonzero",
    "aten::masked_select": MASKED,
    "aten::unique_dim": "unique",
    "aten::_unique": "unique",
    "aten::_unique2": "unique",
    "aten::unique_consecutive": "unique",
    "aten::unique_dim_consecutive": "unique",
    "aten::bincount": "bincount",
    "torchvision::nms": "NMS",
}
INDEXED = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_", "aten::_unsafe_index")
BOOLEAN = (torch.bool, torch.uint8)


def operator_waits(func: Any, args: tuple, kwargs: Mapping[str, object]) -> tuple[str, int]:
    """Why and how often an operator with these arguments makes the host wait; mostly ("", 0)."""
    name = func._schema.name
    if name in ALWAYS:
        return ALWAYS[name], 1
    if name in INDEXED:
        masks = [index for index in args[1] if index is not None and index.dtype in BOOLEAN]
        return MASKED, len(masks)  # each becomes indices by a nonzero of its own
    if name == "aten::repeat_interleave" and kwargs.get("output_size") is None:
        return "repeat_interleave without output_size", 1
    if name == "aten::isin" and isinstance(args[0], Tensor) and isinstance(args[1], Tensor):
        # Against few values each is compared with each; against many both are made unique first.
        return "unique", int(args[1].numel() >= 10 * args[0].numel() ** 0.145)
    return "", 0


def index_copies(index: object, value: object, host: Container[Tensor]) -> tuple[int, bool]:
    """How many copies to the device `x[index]`, or `x[index] = value`, makes for an x there.

    Also whether it waits for nothing else: a number is written through a mask without a list of indices.
    """
    parts = index if isinstance(index, tuple) else (index,)
    tensors = [part for part in parts if isinstance(part, Tensor)]
    copies = sum(isinstance(part, list) or (isinstance(part, Tensor) and part in host) for part in parts)
    if not isinstance(value, int | float):
        return copies, False
    masks = [part for part in tensors if part.dtype in BOOLEAN]
    if masks and len(masks) == len(tensors):
        return copies, True
    return copies + bool(tensors), False
