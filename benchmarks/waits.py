"""How often the host waits for the device in a training step and in inference, by source line.

On a CPU it is what a GPU would wait for (`benchmarks.host_waits`); on a GPU what torch's synchronisation check reports.
The loop around the step waits when it logs or saves, not in a step: see `reprolib.engine.loss_window.LossWindow`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.host_waits import count_waits, cuda_waits

Rows = list[tuple[int, str, str]]  # times, place, cause


def run_waits(model: nn.Module, images: list[Tensor], targets: list[dict], *, device: str) -> dict[str, Rows]:
    """`training`: forward and backward of this batch; `inference`: of its first image. The model's mode stays.

    Gradients are left behind.
    """
    counting = cuda_waits if torch.device(device).type == "cuda" else count_waits
    was_training = model.training
    try:
        model.train()
        with counting() as training:
            sum(model(images, targets).values()).backward()
        model.eval()
        with torch.no_grad(), counting() as inference:
            model(images[:1])
    finally:
        model.train(was_training)
    return {
        task: sorted((times, *wait) for wait, times in seen.items())[::-1]
        for task, seen in (("training", training), ("inference", inference))
    }


def text(waits: dict[str, Rows], *, batch_size: int, device: str) -> str:
    """As tables to read."""
    how = "as torch reports them" if torch.device(device).type == "cuda" else "as a GPU would, counted on the CPU"
    lines = []
    for task, what in (("training", f"a step of {batch_size} images"), ("inference", "one image")):
        rows = waits[task]
        lines.append(f"{task}, {what}: the host waits {sum(row[0] for row in rows)} times for the device ({how})")
        lines += [f"{times:>5}  {place:52}{cause}" for times, place, cause in rows]
    return "\n".join(lines)
