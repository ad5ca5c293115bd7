"""Optimisers over parameter groups: norms and embeddings apart, frozen parameters left out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from reprolib.params import Schedule

# _NormBase: batch, sync and instance norm
APART = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.Embedding)


def parameter_groups(model: nn.Module, schedule: Schedule) -> list[dict]:
    """Weights and biases with `weight_decay`, those of norm layers and of embeddings with `norm_weight_decay`.

    This is detectron2's rule (WEIGHT_DECAY_NORM 0, Mask2Former's WEIGHT_DECAY_EMBED 0, biases decayed like weights);
    for recipes of MMDetection that decay norms too, a schedule's `norm_weight_decay` is its `weight_decay`.
    Where the schedule has a `backbone_factor`, the parameters of `model.backbone` are in groups of their own; each
    group's `factor` is multiplied with the learning rate.
    Frozen parameters are in no group; a parameter that modules share is in a single group. Empty groups are left out.
    Raises ValueError when nothing can be trained.
    """
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    apart = set(model.backbone.modules()) if schedule.backbone_factor != 1 else set()
    seen: set[nn.Parameter] = set()
    for module in model.modules():
        factor = schedule.backbone_factor if module in apart else 1.0
        for parameter in module.parameters(recurse=False):
            if parameter.requires_grad and parameter not in seen:
                seen.add(parameter)
                groups.setdefault((isinstance(module, APART), factor), []).append(parameter)
    decay = {False: schedule.weight_decay, True: schedule.norm_weight_decay}
    order = sorted(groups, key=lambda key: (key[0], -key[1]))
    if not order:
        raise ValueError("the model has no parameter with requires_grad; nothing can be trained")
    return [{"params": groups[key], "weight_decay": decay[key[0]], "factor": key[1]} for key in order]


def build_optimiser(model: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    """SGD with momentum or AdamW, by `schedule.optimizer`; `set_learning_rate` sets the rate before each step.

    Raises ValueError for another name.
    """
    groups = parameter_groups(model, schedule)
    # A fused kernel updates all parameters at once: in thin networks their number, not their size, takes the time.
    if schedule.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=schedule.lr, momentum=schedule.momentum, fused=True)
    if schedule.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=schedule.lr, fused=True)
    raise ValueError(f"schedule: unknown optimizer {schedule.optimizer!r}; use sgd or adamw in params.yaml")


def trained_parameters(optimiser: torch.optim.Optimizer) -> list[nn.Parameter]:
    """All parameters that the optimiser steps, group after group."""
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give each group its `factor` times the rate."""
    for group in optimiser.param_groups:
        group["lr"] = group["factor"] * rate


def gradient_norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    """The norm of all gradients together, a scalar; parameters without a gradient are left out."""
    return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])


def step(
    optimiser: torch.optim.Optimizer, parameters: Sequence[nn.Parameter], *, norm: Tensor, clip_norm: float
) -> None:
    """Clip the gradients, whose norm is `norm`, to `clip_norm` (0: not at all), update the weights, drop gradients."""
    if clip_norm:
        torch.nn.utils.clip_grads_with_norm_(parameters, clip_norm, norm)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
