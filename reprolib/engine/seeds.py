"""Seeds of the random number generators."""

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
