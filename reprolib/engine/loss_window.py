"""The losses between two lines of a run's log, read from the device rarely and averaged over processes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from reprolib.engine.processes import gather

PENDING = 64  # batches whose losses stay on the device at most
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

    Reading makes the host wait until the GPU's queue is empty. So the loop reads every iteration on a CPU, and on a GPU
    when it logs or saves (and after 64 batches). Each entry keeps its iteration and image ids: a non-finite loss is
    found late, but the right batch is named, and nothing that came after it is saved.

    Of several processes each adds its own batches, and all of them read at the same iterations: means are over the
    batches of all, and all raise the same error.
    """

    def __init__(self) -> None:
        self.unread: list[tuple[int, list[int], tuple[str, ...], float, Tensor]] = []
        self.sums: dict[str, float] = {}
        self.counts: dict[str, float] = {}

    def add(self, values: Mapping[str, Tensor], *, iteration: int, image_ids: list[int], weight: float = 1.0) -> None:
        """values: scalars by name; `image_ids` those of the batch that they come from.

        weight: in the means. It lets an iteration of several processes weigh as much as that of a single process.
        """
        stacked = torch.stack([value.detach().float() for value in values.values()])
        self.unread.append((iteration, image_ids, tuple(values), weight, stacked))
        if len(self.unread) >= PENDING:
            self.read()

    def read(self) -> None:
        """Bring all entries to the host; raises NonFiniteLossError for the first batch with a non-finite value."""
        if not self.unread:
            return
        numbers = iter(torch.cat([stacked for *_, stacked in self.unread]).tolist())  # a single copy
        non_finite = None
        for iteration, image_ids, names, weight, _ in self.unread:
            values = {name: next(numbers) for name in names}
            if not all(map(math.isfinite, values.values())):
                non_finite = (iteration, names == (GRADIENT_NORM,), values, image_ids)
                break
            for name, value in values.items():
                self.sums[name] = self.sums.get(name, 0.0) + weight * value
                self.counts[name] = self.counts.get(name, 0.0) + weight
        # A non-finite loss of one process makes the gradient of all processes non-finite: name the loss.
        reports = sorted((report for report in gather(non_finite) if report), key=lambda report: report[:2])
        if reports:
            iteration, _, values, image_ids = reports[0]
            raise NonFiniteLossError(iteration=iteration, values=values, image_ids=image_ids)
        self.unread.clear()

    def take_means(self) -> dict[str, float]:
        """Means since the last call, by name; starts a new window."""
        state = self.state()
        self.sums, self.counts = {}, {}
        return {name: total / state["counts"][name] for name, total in state["sums"].items()}

    def state(self) -> dict[str, dict]:
        """Plain containers for a checkpoint, so that the line after a resume averages the whole window."""
        self.read()
        merged: dict[str, dict] = {"sums": {}, "counts": {}}
        for process in gather({"sums": self.sums, "counts": self.counts}):
            for kind, values in process.items():
                for name, value in values.items():
                    merged[kind][name] = merged[kind][name] + value if name in merged[kind] else value
        return merged

    def load(self, state: Mapping[str, dict]) -> None:
        """Go on from `state`; called in one of the processes, since means are over all of them."""
        self.sums, self.counts = dict(state["sums"]), dict(state["counts"])
