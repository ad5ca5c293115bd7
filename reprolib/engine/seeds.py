"""Seeds of the random number generators, also for one position of a run."""

from __future__ import annotations

import random

import numpy as np
import torch


def seed_everything(seed: int, *, deterministic: bool = False) -> None:
    """Seed Python's, NumPy's and torch's global generators (all devices).

    deterministic=True also refuses or replaces operators without a deterministic form (slow: torchvision then uses its
    pure-torch RoIAlign on GPUs); on CUDA it needs CUBLAS_WORKSPACE_CONFIG=:4096:8 set before Python starts.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    if deterministic:
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False


def derived_seed(seed: int, *position: int) -> int:
    """A seed for one position of a run, unrelated to those of neighbouring positions and seeds (63 bits).

    Sums would not do: seed 0 at batch 1 would draw the same numbers as seed 1 at batch 0.
    """
    return int(np.random.SeedSequence((seed, *position)).generate_state(1, np.uint64)[0] >> np.uint64(1))
