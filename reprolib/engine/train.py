"""The training loop, for any detector that keeps the contract.

What a step does is a function of the weights, the seed and the iteration alone: the batch, its augmentation and the
global generators (re-seeded before every batch) follow from seed and iteration, the learning rate from the iteration.
So a checkpoint needs no generator states, and a run that was killed ends with the weights of one that was not: bit for
bit on a CPU with the same number of threads; on a GPU as far as its kernels repeat themselves.

Several processes (torchrun) share a step's images: `share` says how, and DistributedDataParallel averages their
gradients. A checkpoint knows no process: a run goes on with any number of them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import Dataset

from reprolib.data.loader import batches
from reprolib.engine import processes
from reprolib.engine.checkpoint import KEEP, CheckpointError, exclusive, load_checkpoint, save_checkpoint
from reprolib.engine.computation import compile_static_parts, use_channels_last
from reprolib.engine.devices import peak_memory_mb, synchronise
from reprolib.engine.feed import Feed
from reprolib.engine.optimisers import build_optimiser
from reprolib.engine.progress import GRADIENT_NORM, LossWindow, Progress
from reprolib.engine.schedules import learning_rate, total_iterations
from reprolib.engine.seeds import derived_seed, seed_everything
from reprolib.engine.sharing import share, shared
from reprolib.models.parts import BACKWARD, LOSSES, OPTIMISER, part
from reprolib.params import Schedule

# Fields of a schedule that leave the weights as they are; a resumed run may change them.
INDIFFERENT = ("checkpoint_every", "log_every", "workers", "test_size")


@dataclass(frozen=True, kw_only=True)
class TrainingSummary:
    """What a run took. Times are wall times in seconds; work that was lost in a kill is not in `seconds_total`.

    Rates and `data_share` are of the last call that trained and of all processes together.
    """

    iterations: int  # optimiser steps done, of this run and not of this call
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


def train(
    model: nn.Module,
    dataset: Dataset,
    schedule: Schedule,
    *,
    seed: int,
    device: str,
    work: Path,
    log: Path,
    stop_after: int | None = None,
) -> TrainingSummary:
    """Train `model` in place, going on from the newest checkpoint in `work`; a finished run is only loaded.

    Args:
        model: losses by name from (images, targets) in training mode; see the detector contract in DESIGN.md.
        dataset: items (image uint8 [3,H,W], target) for `reprolib.data.loader.batches`.
        device: of this process, as `reprolib.engine.processes.joined` gives it; the same kind in all processes.
        work: checkpoints of this very run; the caller keys it by the run's fingerprint.
        log: JSON lines, kept next to the checkpoints and not among DVC's outs, which DVC deletes before a resume. Keys:
            iteration, iterations, images, loss, losses (means since the line before), gradient_norm (before clipping),
            learning_rate, images_per_second, data_share (of the time, waiting for data), seconds, memory_mb, precision.
        stop_after: stop with a checkpoint after so many iterations of this call.

    Gradient accumulation: the gradient is the mean over `accumulate` batches of batch_size / accumulate images. It
    equals that of one large batch where losses are means over images; losses that divide by a batch's number of
    instances or samples, and batch norm, see the small batch. Processes divide a step in the same way.

    Raises ValueError for a schedule that cannot be, NonFiniteLossError, CheckpointError for a `work` of another run.
    """
    total = total_iterations(schedule, images=len(dataset))
    rank, count = processes.rank(), processes.count()
    parts, per_batch = share(schedule, count=count)
    learning_rate(schedule, 0, total)  # an unknown policy is refused before anything is written
    if stop_after is not None and stop_after < 1:
        raise ValueError(f"stop_after must be at least 1 iteration, not {stop_after}")
    on_gpu = torch.device(device).type == "cuda"
    autocast = _autocast(schedule, on_gpu=on_gpu)
    work, log = Path(work), Path(log)
    recipe = {"seed": seed, "images": len(dataset)} | {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in dataclasses.asdict(schedule).items()
        if key not in INDIFFERENT
    }

    with contextlib.ExitStack() as held:
        processes.from_first(lambda: held.enter_context(exclusive(work)))
        model.to(device).train()
        if schedule.channels_last:
            use_channels_last(model)
        optimiser = build_optimiser(model, schedule)
        trained = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        window, start, seconds_before, final_losses = LossWindow(), 0, 0.0, {}
        checkpoint = processes.from_first(lambda: load_checkpoint(work))
        if checkpoint is not None:
            _restore(checkpoint, model, optimiser, recipe=recipe, work=work)
            if rank == 0:
                window.load(checkpoint["window"])
            start, seconds_before = checkpoint["iteration"], checkpoint["seconds"]
            final_losses = checkpoint["losses"]
            if checkpoint["summary"] is not None:
                print(f"{work}: finished at iteration {start} before; nothing to train", flush=True)
                return TrainingSummary(**checkpoint["summary"])
            print(f"{work}: going on at iteration {start} of {total}", flush=True)
        del checkpoint  # as large as the optimiser's state
        stop = total if stop_after is None else min(total, start + stop_after)
        if schedule.compile:
            compile_static_parts(model)
        network = shared(model, images=per_batch)

        if on_gpu:
            torch.cuda.reset_peak_memory_stats(device)
        stream = batches(
            dataset,
            batch_size=per_batch,
            seed=seed,
            start=start * parts,
            workers=schedule.workers,
            repeat_factor=schedule.repeat_factor,
            shard=(rank, count),
            pin=on_gpu,
        )
        feed = Feed(stream, device=device)
        progress = Progress(log=log, start=start, total=total)
        began = logged = time.perf_counter()
        logged_at, waited_before = start, 0.0
        try:
            for iteration in range(start, stop):
                for group in optimiser.param_groups:
                    group["lr"] = group["factor"] * learning_rate(schedule, iteration, total)

                step_ids: list[int] = []
                for number in range(parts):
                    batch = next(feed)
                    step_ids += batch.image_ids
                    seed_everything(derived_seed(seed, iteration, number * count + rank))
                    waits = count > 1 and number < parts - 1  # the last batch's gradients bring the others' along
                    with network.no_sync() if waits else contextlib.nullcontext():
                        with autocast, part(LOSSES):
                            losses = network(batch.images, batch.targets)
                        weight = schedule.accumulate / (parts * count)
                        window.add(losses, iteration=iteration + 1, image_ids=batch.image_ids, weight=weight)
                        with part(BACKWARD):
                            (sum(losses.values()) / parts).backward()

                with part(OPTIMISER):
                    norm = torch.nn.utils.get_total_norm([p.grad for p in trained if p.grad is not None])
                    window.add({GRADIENT_NORM: norm}, iteration=iteration + 1, image_ids=step_ids, weight=1 / count)
                    if not on_gpu:
                        window.read()  # costs nothing here and stops before the weights are spoilt
                    if schedule.clip_norm:
                        torch.nn.utils.clip_grads_with_norm_(trained, schedule.clip_norm, norm)
                    optimiser.step()
                    optimiser.zero_grad(set_to_none=True)
                progress.advance()

                done = iteration + 1
                if done % schedule.log_every == 0 or done == total:
                    means = window.take_means()  # waits for the GPU, so that the times below are true
                    now = time.perf_counter()
                    gradient_norm = means.pop(GRADIENT_NORM)
                    final_losses = {"loss": sum(means.values())} | means
                    waited = max(processes.everyone(feed.waited - waited_before))
                    progress.report(
                        {
                            "iteration": done,
                            "iterations": total,
                            "images": done * schedule.batch_size,
                            "loss": final_losses["loss"],
                            "losses": means,
                            "gradient_norm": gradient_norm,
                            "learning_rate": optimiser.param_groups[0]["lr"],
                            "images_per_second": (done - logged_at) * schedule.batch_size / (now - logged),
                            "data_share": min(1.0, waited / (now - logged)),
                            "seconds": seconds_before + now - began,
                            "memory_mb": peak_memory_mb(device),
                            "precision": "bfloat16" if on_gpu and schedule.precision == "bfloat16" else "float32",
                        }
                    )
                    logged, logged_at, waited_before = now, done, feed.waited

                if done % schedule.checkpoint_every == 0 or done == stop:
                    window_state = window.state()  # raises before anything non-finite is saved
                    synchronise(device)
                    seconds = time.perf_counter() - began
                    waits, rates, peaks = zip(
                        *processes.everyone((feed.waited, stream.images_per_second, peak_memory_mb(device))),
                        strict=True,
                    )
                    images = (done - start) * schedule.batch_size
                    waited = min(seconds, max(waits))
                    summary = TrainingSummary(
                        iterations=done,
                        images_seen=done * schedule.batch_size,
                        seconds=seconds,
                        seconds_total=seconds_before + seconds,
                        final_losses=final_losses,
                        device=device,
                        peak_memory_mb=max(peaks) if on_gpu else None,
                        images_per_second=images / seconds,
                        loader_images_per_second=sum(rates),
                        step_images_per_second=images / max(seconds - waited, 1e-9),
                        data_share=waited / seconds,
                        processes=count,
                    )
                    finished = done == total
                    if rank == 0:
                        save_checkpoint(
                            work,
                            {
                                "recipe": recipe,
                                "iteration": done,
                                "model": model.state_dict(),
                                "optimiser": None if finished else optimiser.state_dict(),
                                "window": window_state,
                                "losses": final_losses,
                                "seconds": summary.seconds_total,
                                "summary": dataclasses.asdict(summary) if finished else None,
                            },
                            iteration=done,
                            keep=1 if finished else KEEP,  # a finished run goes on from nowhere: it is only recognised
                        )
        finally:
            progress.close()
    print(
        f"{summary.images_per_second:.1f} img/s: the loader could deliver {summary.loader_images_per_second:.1f}, the"
        f" steps do {summary.step_images_per_second:.1f}; {summary.data_share:.0%} of the time waiting for data",
        flush=True,
    )
    return summary


def _autocast(schedule: Schedule, *, on_gpu: bool) -> torch.autocast:
    if schedule.precision not in ("float32", "bfloat16"):
        raise ValueError(f"schedule: unknown precision {schedule.precision!r}; use float32 or bfloat16")
    wanted = schedule.precision == "bfloat16"
    if wanted and not on_gpu:
        print("note: precision bfloat16 is for CUDA; on this CPU the run computes in float32", flush=True)
    return torch.autocast("cuda" if on_gpu else "cpu", dtype=torch.bfloat16, enabled=wanted and on_gpu)


def _restore(checkpoint: dict, model: nn.Module, optimiser: torch.optim.Optimizer, *, recipe: dict, work: Path) -> None:
    """Load weights and optimiser state; raises CheckpointError when they are another run's."""
    kept = checkpoint["recipe"]
    differing = sorted(key for key in recipe.keys() | kept.keys() if recipe.get(key) != kept.get(key))
    if differing:
        key = differing[0]
        raise CheckpointError(
            f"{work} holds a run with {key} {kept.get(key)}, this one has {recipe.get(key)}; use another folder,"
            " or delete this one to start afresh"
        )
    try:
        model.load_state_dict(checkpoint["model"])
        if checkpoint["optimiser"] is not None:
            optimiser.load_state_dict(checkpoint["optimiser"])
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"{work} holds another model's run; use another folder, or delete this one to start afresh ({error})"
        ) from None
