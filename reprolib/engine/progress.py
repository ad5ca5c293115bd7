"""What a run says while it works: losses, a line now and then, a log of JSON lines."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from reprolib.engine.processes import everyone, rank
from reprolib.files import write_atomic

SECONDS_BETWEEN_LINES = 2.0  # printed lines; the log gets every `log_every`-th iteration
PENDING = 64  # batches whose losses wait on the device at most
GRADIENT_NORM = "gradient_norm"


class NonFiniteLossError(RuntimeError):
    """A loss or the gradient became NaN or infinite. `iteration`, `values` (by name) and `image_ids` tell where."""

    def __init__(self, *, iteration: int, values: Mapping[str, float], image_ids: Sequence[int]) -> None:
        self.iteration, self.values, self.image_ids = iteration, dict(values), list(image_ids)
        bad = ", ".join(f"{name} = {value}" for name, value in values.items() if not math.isfinite(value))
        good = ", ".join(f"{name} = {value:.4g}" for name, value in values.items() if math.isfinite(value))
        super().__init__(
            f"iteration {iteration}: {bad}{f' ({good})' if good else ''}; image ids of the batch:"
            f" {', '.join(map(str, image_ids))}. The checkpoint before it is kept. Mend: look at these images'"
            " annotations (`reprolib data NAME`); then in params.yaml lower `lr`, lengthen `warmup_iterations` or set"
            " `clip_norm`"
        )


class LossWindow:
    """Losses since the last log line: left on the device until `read`, then averaged on the host.

    Reading costs a GPU its queue, so the loop reads every iteration on a CPU, and on a GPU when it logs or saves (and
    after 64 batches). Each waiting entry keeps its iteration and image ids; so the batch at fault is named late, but
    rightly, and nothing is saved that came after it.

    Of several processes each adds its own batches and all of them read at the same iterations: means are over all
    batches, and all raise the same error.
    """

    def __init__(self) -> None:
        self.waiting: list[tuple[int, list[int], tuple[str, ...], float, Tensor]] = []
        self.sums: dict[str, float] = {}
        self.counts: dict[str, float] = {}

    def add(self, values: Mapping[str, Tensor], *, iteration: int, image_ids: list[int], weight: float = 1.0) -> None:
        """values: scalars by name; `image_ids` those of the batch that they come from.

        weight: in the means, so that an iteration of several processes weighs as much as one of a single process.
        """
        stacked = torch.stack([value.detach().float() for value in values.values()])
        self.waiting.append((iteration, image_ids, tuple(values), weight, stacked))
        if len(self.waiting) >= PENDING:
            self.read()

    def read(self) -> None:
        """Bring what waits to the host; raises NonFiniteLossError for the first batch with a non-finite value."""
        if not self.waiting:
            return
        numbers = iter(torch.cat([stacked for *_, stacked in self.waiting]).tolist())  # one copy for all
        trouble = None
        for iteration, image_ids, names, weight, _ in self.waiting:
            values = {name: next(numbers) for name in names}
            if not all(map(math.isfinite, values.values())):
                trouble = (iteration, names == (GRADIENT_NORM,), values, image_ids)
                break
            for name, value in values.items():
                self.sums[name] = self.sums.get(name, 0.0) + weight * value
                self.counts[name] = self.counts.get(name, 0.0) + weight
        # One process' bad loss is every process' bad gradient: the loss is to blame.
        troubles = sorted((one for one in everyone(trouble) if one), key=lambda one: one[:2])
        if troubles:
            iteration, _, values, image_ids = troubles[0]
            raise NonFiniteLossError(iteration=iteration, values=values, image_ids=image_ids)
        self.waiting.clear()

    def take_means(self) -> dict[str, float]:
        """Means since the last call, by name; starts a new window."""
        state = self.state()
        self.sums, self.counts = {}, {}
        return {name: total / state["counts"][name] for name, total in state["sums"].items()}

    def state(self) -> dict[str, dict]:
        """Plain containers for a checkpoint, so that the line after a resume averages the whole window."""
        self.read()
        merged: dict[str, dict] = {"sums": {}, "counts": {}}
        for one in everyone({"sums": self.sums, "counts": self.counts}):
            for kind, values in one.items():
                for name, value in values.items():
                    merged[kind][name] = merged[kind][name] + value if name in merged[kind] else value
        return merged

    def load(self, state: Mapping[str, dict]) -> None:
        """Go on from `state`; of several processes one."""
        self.sums, self.counts = dict(state["sums"]), dict(state["counts"])


class Progress:
    """Prints plain lines (a bar on a terminal) and appends to the log; of several processes only the first does.

    log: one JSON object per line; lines after iteration `start` and a torn last one are dropped first, so that a
    resumed run repeats none.
    """

    def __init__(self, *, log: Path, start: int, total: int) -> None:
        self.total, self.start = total, start
        self.began = time.perf_counter()
        self.printed = -math.inf
        self.file = self.bar = None
        if rank():
            return
        kept = _lines_until(log, start) if start else ""
        if start and not kept:
            print(f"note: {log} is gone or empty; the log goes on at iteration {start}", flush=True)
        write_atomic(log, kept)
        self.file = log.open("a")
        if sys.stderr.isatty():
            self.bar = tqdm(total=total, initial=start, unit="it", dynamic_ncols=True)

    def advance(self) -> None:
        """One iteration is done."""
        if self.bar is not None:
            self.bar.update()

    def report(self, entry: Mapping[str, object]) -> None:
        """Log an entry of `train` and show it, unless the last line is less than two seconds old."""
        if self.file is None:
            return
        self.file.write(json.dumps(entry, allow_nan=False) + "\n")
        self.file.flush()  # a checkpoint may follow, after which this line is not made again
        now, iteration = time.perf_counter(), entry["iteration"]
        if self.bar is not None:
            self.bar.set_postfix_str(_losses(entry))
        elif now - self.printed >= SECONDS_BETWEEN_LINES or iteration == self.total:
            left = (now - self.began) / (iteration - self.start) * (self.total - iteration)
            print(format_line(entry, seconds_left=left), flush=True)
            self.printed = now

    def close(self) -> None:
        if self.file is not None:
            self.file.close()
        if self.bar is not None:
            self.bar.close()


def format_line(entry: Mapping[str, object], *, seconds_left: float) -> str:
    """An entry of the log as one line to read."""
    return "  ".join(
        (
            f"iter {entry['iteration']}/{entry['iterations']}",
            _losses(entry),
            f"lr {entry['learning_rate']:.2e}",
            f"{entry['images_per_second']:.1f} img/s",
            f"data {entry['data_share']:.0%}",
            f"ETA {timedelta(seconds=round(seconds_left))}",
            f"mem {entry['memory_mb']:.0f} MB",
        )
    )


def _losses(entry: Mapping[str, object]) -> str:
    parts = " ".join(f"{name.removeprefix('loss_')} {value:.3f}" for name, value in entry["losses"].items())
    return f"loss {entry['loss']:.3f} ({parts})"


def _lines_until(log: Path, iteration: int) -> str:
    """The log's whole lines up to an iteration."""
    if not log.exists():
        return ""
    kept = []
    for line in log.read_text(errors="replace").splitlines(keepends=True):
        try:
            entry = json.loads(line)
        except ValueError:
            break
        if not line.endswith("\n") or entry["iteration"] > iteration:
            break
        kept.append(line)
    return "".join(kept)
