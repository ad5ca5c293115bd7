"""Ways to small results for which a GPU's host need not wait, or once where it would wait often."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def numbers_like(numbers: Sequence[float], like: Tensor) -> Tensor:
    """`like.new_tensor(numbers)`, filled on the device: copying them there makes the host wait for its queue."""
    return torch.cat([like.new_full((1,), number) for number in numbers])


def rows_where(masks: Sequence[Tensor]) -> list[Tensor]:
    """`torch.where(mask)[0]` of each of several masks [N] bool, waiting once for how many there are in all of them."""
    if not masks[0].is_cuda:  # on a CPU there is nothing to wait for, and counting first would only add a pass
        return [torch.where(mask)[0] for mask in masks]
    counts = torch.stack([mask.sum() for mask in masks]).tolist()
    return [mask.nonzero_static(size=count)[:, 0] for mask, count in zip(masks, counts, strict=True)]
