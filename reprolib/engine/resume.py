"""What a run's checkpoint holds, and how a run is resumed from it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from reprolib.engine.checkpoint import KEEP, CheckpointError, load_checkpoint, save_checkpoint
from reprolib.engine.loss_window import LossWindow
from reprolib.engine.processes import from_first, rank
from reprolib.engine.run_meter import TrainingSummary
from reprolib.params import Schedule

# Fields of a schedule that do not change the weights; a resumed run may change them.
INDIFFERENT = ("checkpoint_every", "log_every", "workers", "test_size")


@dataclass(frozen=True, kw_only=True)
class ResumePoint:
    """Where a run goes on. `summary`: the fields of the run's summary where it is finished, else None."""

    iteration: int = 0
    seconds: float = 0.0  # of the calls before
    losses: dict[str, float] = field(default_factory=dict)  # of the last line of the log
    summary: dict[str, object] | None = None


def recipe_of(schedule: Schedule, *, seed: int, images: int) -> dict[str, object]:
    """What must be equal for a run to be resumed: seed, number of training images, and what of the schedule changes
    the weights."""
    fields = {key: value for key, value in dataclasses.asdict(schedule).items() if key not in INDIFFERENT}
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in fields.items()}
    return {"seed": seed, "images": images} | plain


def resume(
    work: Path,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    window: LossWindow,
    *,
    recipe: dict[str, object],
    total: int,
) -> ResumePoint:
    """Load the newest checkpoint in `work` into model, optimiser and window; without one, the run's beginning.

    Raises CheckpointError for a checkpoint of another recipe or another model.
    """
    checkpoint = from_first(lambda: load_checkpoint(work))
    if checkpoint is None:
        return ResumePoint()
    saved = checkpoint["recipe"]
    differing = sorted(key for key in recipe.keys() | saved.keys() if recipe.get(key) != saved.get(key))
    if differing:
        key = differing[0]
        raise CheckpointError(
            f"{work} holds a run with {key} {saved.get(key)}, this one has {recipe.get(key)}; use another folder,"
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
    if rank() == 0:
        window.load(checkpoint["window"])
    iteration, summary = checkpoint["iteration"], checkpoint["summary"]
    if summary is None:
        print(f"{work}: going on at iteration {iteration} of {total}", flush=True)
    else:
        print(f"{work}: finished at iteration {iteration} before; nothing to train", flush=True)
    return ResumePoint(iteration=iteration, seconds=checkpoint["seconds"], losses=checkpoint["losses"], summary=summary)


def save(
    work: Path,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    summary: TrainingSummary,
    *,
    recipe: dict[str, object],
    window: dict[str, dict],
    finished: bool,
) -> None:
    """Write the checkpoint that `resume` reads, in the first process; a finished run keeps no optimiser state."""
    if rank():
        return
    state = {
        "recipe": recipe,
        "iteration": summary.iterations,
        "model": model.state_dict(),
        "optimiser": None if finished else optimiser.state_dict(),
        "window": window,
        "losses": summary.final_losses,
        "seconds": summary.seconds_total,
        "summary": dataclasses.asdict(summary) if finished else None,
    }
    save_checkpoint(work, state, iteration=summary.iterations, keep=1 if finished else KEEP)
