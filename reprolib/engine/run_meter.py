"""Times and rates of a training run: the entries of its log, and its summary."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from reprolib.engine.devices import peak_memory_mb
from reprolib.engine.feed import Feed
from reprolib.engine.loss_window import GRADIENT_NORM
from reprolib.engine.processes import count, gather
from reprolib.params import Schedule


@dataclass(frozen=True, kw_only=True)
class TrainingSummary:
    """What a run took. Times are wall times in seconds; work that was lost in a kill is not in `seconds_total`.

    Rates and `data_share` are of the last call that trained and of all processes together.
    """

    iterations: int  # optimiser steps of the run, those of earlier calls included
    images_seen: int
    seconds: float  # of the last call that trained
    seconds_total: float  # of all calls
    final_losses: dict[str, float]  # means over the last logged window; includes their sum, "loss"
    device: str
    peak_memory_mb: float | None  # of the GPU that used most; None on a CPU
    images_per_second: float  # waiting for data included
    loader_images_per_second: float  # what the loader's processes could deliver
    step_images_per_second: float  # what the steps could do if data were always there
    data_share: float  # of the time, waiting for data (see `Feed`), in the process that waited most
    processes: int  # at the last call

    @property
    def speeds(self) -> str:
        """How fast the run was and what limited it, as one line to read."""
        return (
            f"{self.images_per_second:.1f} img/s: the loader could deliver {self.loader_images_per_second:.1f}, the"
            f" steps do {self.step_images_per_second:.1f}; {self.data_share:.0%} of the time waiting for data"
        )


class RunMeter:
    """Measures one call of `train`, from when it is made. All processes call its methods at the same iterations.

    start: the iteration at which the call begins. seconds: what earlier calls took.
    """

    def __init__(self, schedule: Schedule, feed: Feed, *, device: str, start: int, total: int, seconds: float) -> None:
        self.schedule, self.feed, self.device = schedule, feed, device
        self.start, self.total, self.seconds_before = start, total, seconds
        self.on_gpu = torch.device(device).type == "cuda"
        if self.on_gpu:
            torch.cuda.reset_peak_memory_stats(device)
        self.began = self.entry_time = time.perf_counter()
        self.entry_iteration, self.entry_waited = start, 0.0

    def log_entry(self, iteration: int, means: Mapping[str, float], *, learning_rate: float) -> dict[str, object]:
        """The log's entry after `iteration` steps; `means` are those of `LossWindow` since the entry before.

        Keys: iteration, iterations, images, loss, losses, gradient_norm (before clipping), learning_rate,
        images_per_second, data_share (of the time since the entry before, waiting for data), seconds, memory_mb,
        precision.
        """
        now, waited = time.perf_counter(), self.feed.waited
        seconds, batch_size = now - self.entry_time, self.schedule.batch_size
        losses = {name: mean for name, mean in means.items() if name != GRADIENT_NORM}
        entry = {
            "iteration": iteration,
            "iterations": self.total,
            "images": iteration * batch_size,
            "loss": sum(losses.values()),
            "losses": losses,
            "gradient_norm": means[GRADIENT_NORM],
            "learning_rate": learning_rate,
            "images_per_second": (iteration - self.entry_iteration) * batch_size / seconds,
            "data_share": min(1.0, max(gather(waited - self.entry_waited)) / seconds),
            "seconds": self.seconds_before + now - self.began,
            "memory_mb": peak_memory_mb(self.device),
            "precision": "bfloat16" if self.on_gpu and self.schedule.precision == "bfloat16" else "float32",
        }
        self.entry_time, self.entry_iteration, self.entry_waited = now, iteration, waited
        return entry

    def summary(self, iteration: int, final_losses: dict[str, float]) -> TrainingSummary:
        """The run's summary after `iteration` steps; the device has finished its work."""
        seconds = time.perf_counter() - self.began
        measured = gather((self.feed.waited, self.feed.loader_images_per_second, peak_memory_mb(self.device)))
        waits, rates, peaks = zip(*measured, strict=True)
        images = (iteration - self.start) * self.schedule.batch_size
        waited = min(seconds, max(waits))
        return TrainingSummary(
            iterations=iteration,
            images_seen=iteration * self.schedule.batch_size,
            seconds=seconds,
            seconds_total=self.seconds_before + seconds,
            final_losses=final_losses,
            device=self.device,
            peak_memory_mb=max(peaks) if self.on_gpu else None,
            images_per_second=images / seconds,
            loader_images_per_second=sum(rates),
            step_images_per_second=images / max(seconds - waited, 1e-9),
            data_share=waited / seconds,
            processes=count(),
        )
