"""What a run shows while it works: printed lines or a bar, and a log of JSON lines."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from tqdm import tqdm

from reprolib.engine.processes import rank
from reprolib.files import write_atomic

SECONDS_BETWEEN_LINES = 2.0  # printed lines; the log gets every `log_every`-th iteration


class Progress:
    """Prints plain lines (a bar on a terminal) and appends to the log; of several processes only the first does.

    log: one JSON object per line. Lines after iteration `start` and an incomplete last line are dropped first, so that
    a resumed run repeats none.
    """

    def __init__(self, *, log: Path, start: int, total: int) -> None:
        self.total, self.start = total, start
        self.began = time.perf_counter()
        self.printed_at = -math.inf
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
        """Write an entry of `RunMeter` to the log, and print it unless the last line is less than two seconds old."""
        if self.file is None:
            return
        self.file.write(json.dumps(entry, allow_nan=False) + "\n")
        self.file.flush()  # a run that resumes from the next checkpoint does not write this line again
        now, iteration = time.perf_counter(), entry["iteration"]
        if self.bar is not None:
            self.bar.set_postfix_str(_losses(entry))
        elif now - self.printed_at >= SECONDS_BETWEEN_LINES or iteration == self.total:
            left = (now - self.began) / (iteration - self.start) * (self.total - iteration)
            print(format_line(entry, seconds_left=left), flush=True)
            self.printed_at = now

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
