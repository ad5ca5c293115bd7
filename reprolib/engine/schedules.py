"""The learning rate as a pure function of the iteration, so that a resumed run needs no scheduler state."""

from __future__ import annotations

import math

from reprolib.params import Schedule

# The shape of one cycle: Smith & Topin, "Super-Convergence" (2018), with the constants of torch's OneCycleLR.
RISE = 0.3  # share of the run in which the rate rises
START_DIVISOR = 25.0  # first rate = lr / 25
END_DIVISOR = 1e4  # last rate = first rate / 10,000


def total_iterations(schedule: Schedule, *, images: int) -> int:
    """Optimiser steps of a run over `images` training images.

    `epochs` counts images seen: epochs * images / batch_size steps, rounded, at least one. Raises ValueError when the
    schedule gives neither or both of `iterations` and `epochs`, or when there are no images.
    """
    if images < 1:
        raise ValueError("the training set has no images; run `reprolib data NAME` to see what was dropped and why")
    if schedule.iterations < 0 or schedule.epochs < 0:
        raise ValueError("schedule: iterations and epochs must not be negative; mend it in params.yaml")
    if bool(schedule.iterations) == bool(schedule.epochs):
        which = "both" if schedule.iterations else "neither"
        raise ValueError(f"schedule: {which} of iterations and epochs given; set exactly one of them in params.yaml")
    if schedule.iterations:
        return schedule.iterations
    return max(1, round(schedule.epochs * images / schedule.batch_size))


def learning_rate(schedule: Schedule, iteration: int, total: int) -> float:
    """The rate of optimiser step `iteration` (0 is the first) of `total`.

    step: lr * gamma ** (milestones passed); milestones are in iterations, or in epochs where the schedule gives epochs.
    one_cycle: cosine from lr / 25 up to lr in the first 30 %, then down to lr / 250,000.
    Either is multiplied by the warm-up factor, which grows linearly from `warmup_factor` to 1 during
    `warmup_iterations` steps. Raises ValueError for an unknown policy.
    """
    if schedule.policy == "step":
        unit = total / schedule.epochs if schedule.epochs else 1.0
        passed = sum(iteration >= round(milestone * unit) for milestone in schedule.milestones)
        factor = schedule.gamma**passed
    elif schedule.policy == "one_cycle":
        factor = _one_cycle(iteration, total)
    else:
        raise ValueError(f"schedule: unknown policy {schedule.policy!r}; use step or one_cycle in params.yaml")
    return schedule.lr * factor * _warm_up(schedule, iteration)


def _warm_up(schedule: Schedule, iteration: int) -> float:
    if iteration >= schedule.warmup_iterations:
        return 1.0
    done = iteration / schedule.warmup_iterations
    return schedule.warmup_factor * (1 - done) + done


def _one_cycle(iteration: int, total: int) -> float:
    peak, last = RISE * total - 1, total - 1
    first, end = 1 / START_DIVISOR, 1 / (START_DIVISOR * END_DIVISOR)
    if iteration <= peak:
        return _cosine(first, 1.0, iteration / peak if peak else 1.0)
    peak = max(peak, 0)  # a run of fewer than four steps has no rise
    return _cosine(1.0, end, (iteration - peak) / (last - peak) if last > peak else 0.0)


def _cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2
