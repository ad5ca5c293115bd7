"""The training loop, for any detector that keeps the contract.

What a step does is a function of the weights, the seed and the iteration alone: the batch, its augmentation and the
global generators (seeded again before every batch) follow from seed and iteration, the learning rate from the
iteration. So a checkpoint needs no generator states, and a run that was killed ends with the weights of a run that was
not: bit for bit on a CPU with the same number of threads; on a GPU as far as its kernels repeat themselves.

Several processes (torchrun) share a step's images, see `reprolib.engine.sharing`. A checkpoint does not depend on their
number: a run can be resumed with another one.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import Dataset

from reprolib.data.transforms import derived_seed
from reprolib.engine import processes
from reprolib.engine.checkpoint import exclusive
from reprolib.engine.computation import set_computation
from reprolib.engine.devices import synchronise
from reprolib.engine.feed import training_feed
from reprolib.engine.loss_window import GRADIENT_NORM, LossWindow
from reprolib.engine.optimisers import build_optimiser, gradient_norm, set_learning_rate, step, trained_parameters
from reprolib.engine.progress import Progress
from reprolib.engine.resume import recipe_of, resume, save
from reprolib.engine.run_meter import RunMeter, TrainingSummary
from reprolib.engine.schedules import learning_rate, total_iterations
from reprolib.engine.seeds import seed_everything
from reprolib.engine.sharing import average_gradients, data_parallel, divide_step
from reprolib.models.parts import BACKWARD, LOSSES, OPTIMISER, part
from reprolib.params import Schedule


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
    """Train `model` in place, resuming from the newest checkpoint in `work`; a finished run is only loaded.

    Args:
        model: losses by name from (images, targets) in training mode; see the detector contract in DESIGN.md.
        dataset: items (image uint8 [3,H,W], target) for `reprolib.data.loader.batches`.
        device: of this process, as `reprolib.engine.processes.process_group` gives it; the same kind in all processes.
        work: the folder of this run's checkpoints; the caller keys it by the run's fingerprint.
        log: JSON lines (see `RunMeter.log_entry`), not among DVC's outs: DVC deletes those before a resume.
        stop_after: stop with a checkpoint after so many iterations of this call.

    A step's gradient is the mean over its batches, see `divide_step`.
    Raises ValueError for an impossible schedule, NonFiniteLossError, CheckpointError for a `work` of another run.
    """
    total = total_iterations(schedule, images=len(dataset))
    rank, count = processes.rank(), processes.count()
    step_batches, batch_images = divide_step(schedule, processes=count)
    learning_rate(schedule, 0, total)  # refuses an unknown policy before anything is written
    if stop_after is not None and stop_after < 1:
        raise ValueError(f"stop_after must be at least 1 iteration, not {stop_after}")
    on_gpu = torch.device(device).type == "cuda"
    autocast = _autocast(schedule, on_gpu=on_gpu)
    recipe = recipe_of(schedule, seed=seed, images=len(dataset))

    with contextlib.ExitStack() as stack:
        processes.from_first(lambda: stack.enter_context(exclusive(work)))
        set_computation(model.to(device).train(), schedule)
        optimiser = build_optimiser(model, schedule)
        trained = trained_parameters(optimiser)
        window = LossWindow()
        start = resume(work, model, optimiser, window, recipe=recipe, total=total)
        if start.summary is not None:
            return TrainingSummary(**start.summary)
        stop = total if stop_after is None else min(total, start.iteration + stop_after)
        network = data_parallel(model, images=batch_images)
        feed = training_feed(dataset, schedule, seed=seed, start=start.iteration, device=device)
        progress = stack.enter_context(contextlib.closing(Progress(log=log, start=start.iteration, total=total)))
        meter = RunMeter(schedule, feed, device=device, start=start.iteration, total=total, seconds=start.seconds)
        final_losses = start.losses

        for iteration in range(start.iteration, stop):
            set_learning_rate(optimiser, learning_rate(schedule, iteration, total))
            done, image_ids = iteration + 1, []
            for number in range(step_batches):
                batch = next(feed)
                image_ids += batch.image_ids
                seed_everything(derived_seed(seed, iteration, number * count + rank))
                with average_gradients(network, last=number == step_batches - 1):
                    with autocast, part(LOSSES):
                        losses = network(batch.images, batch.targets)
                    weight = schedule.accumulate / (step_batches * count)
                    window.add(losses, iteration=done, image_ids=batch.image_ids, weight=weight)
                    with part(BACKWARD):
                        (sum(losses.values()) / step_batches).backward()

            with part(OPTIMISER):
                norm = gradient_norm(trained)
                window.add({GRADIENT_NORM: norm}, iteration=done, image_ids=image_ids, weight=1 / count)
                if not on_gpu:
                    window.read()  # raises before the weights are spoilt; a GPU would have to be waited for
                step(optimiser, trained, norm=norm, clip_norm=schedule.clip_norm)
            progress.advance()

            if done % schedule.log_every == 0 or done == total:
                means = window.take_means()  # waits for the GPU, so that the times below are right
                entry = meter.log_entry(done, means, learning_rate=optimiser.param_groups[0]["lr"])
                final_losses = {"loss": entry["loss"], **entry["losses"]}
                progress.report(entry)
            if done % schedule.checkpoint_every == 0 or done == stop:
                window_state = window.state()  # raises before anything non-finite is saved
                synchronise(device)
                summary = meter.summary(done, final_losses)
                save(work, model, optimiser, summary, recipe=recipe, window=window_state, finished=done == total)
    print(summary.speeds, flush=True)
    return summary


def _autocast(schedule: Schedule, *, on_gpu: bool) -> torch.autocast:
    if schedule.precision not in ("float32", "bfloat16"):
        raise ValueError(f"schedule: unknown precision {schedule.precision!r}; use float32 or bfloat16")
    bfloat16 = schedule.precision == "bfloat16"
    if bfloat16 and not on_gpu:
        print("note: precision bfloat16 is for CUDA; on this CPU the run computes in float32", flush=True)
    return torch.autocast("cuda" if on_gpu else "cpu", dtype=torch.bfloat16, enabled=bfloat16 and on_gpu)
