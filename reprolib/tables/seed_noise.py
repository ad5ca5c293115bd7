"""How far apart runs are that differ in their seed alone, measured from the experiments with several records.

Pooled over experiments, by metric: sum((n_i - 1) s_i^2) / sum(n_i - 1) over experiments i with n_i >= 2 seeds. Where a
single seed was run this is the variance that its number has from the seed (`reprolib.tables.confidence_intervals`).
Experiments on the same prepared data set go before those on another one; the source of an interval names them.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from reprolib.files import write_json
from reprolib.tables.confidence_intervals import Noise


class SeedNoise:
    """The noise between seeds of a profile's records (by run id)."""

    def __init__(self, records: Mapping[str, Mapping]) -> None:
        by_experiment: dict[str, list[Mapping]] = {}
        for record in records.values():
            by_experiment.setdefault(record["experiment"], []).append(record)
        self._repeated = {
            name: sorted(runs, key=lambda record: record["seed"])
            for name, runs in sorted(by_experiment.items())
            if len(runs) > 1
        }

    def of(self, metric: str, records: Sequence[Mapping]) -> Noise | None:
        """The noise for runs like `records`, which are of one experiment; None where nothing was measured."""
        if not records:
            return None
        data = records[0]["data"]["name"]
        same_data = {name: runs for name, runs in self._repeated.items() if runs[0]["data"]["name"] == data}
        if noise := _pooled(same_data, metric):
            return noise
        noise = _pooled(self._repeated, metric)
        return replace(noise, elsewhere=True) if noise else None

    def table(self) -> dict[str, object]:
        """What was measured, as JSON: by prepared data set and metric the pooled standard deviation with its degrees
        of freedom, and every value by experiment and seed."""
        by_data: dict[str, dict[str, list[Mapping]]] = {}
        for name, runs in self._repeated.items():
            by_data.setdefault(runs[0]["data"]["name"], {})[name] = runs
        return {data: self._of_data(repeated) for data, repeated in sorted(by_data.items())}

    def _of_data(self, repeated: Mapping[str, list[Mapping]]) -> dict[str, object]:
        metrics = dict.fromkeys(metric for runs in repeated.values() for metric in runs[0]["metrics"])
        table = {}
        for metric in metrics:
            if noise := _pooled(repeated, metric):
                values = {name: _values(runs, metric) for name, runs in repeated.items()}
                table[metric] = {
                    "sd": noise.variance**0.5,
                    "degrees_of_freedom": noise.freedom,
                    "values": {
                        name: {str(seed): value for seed, value in by_seed.items()}
                        for name, by_seed in values.items()
                        if len(by_seed) > 1
                    },
                }
        return table


def write_seed_noise(records: Mapping[str, Mapping], path: str | Path) -> dict[str, object]:
    """Write `SeedNoise.table` of a profile's records; returns it."""
    table = SeedNoise(records).table()
    write_json(path, table)
    return table


def seed_noise_text(table: Mapping[str, Mapping]) -> str:
    """Standard deviations by data set, for a terminal."""
    lines = [
        f"{data:12} {metric:24} sd {entry['sd']:.2f} ({entry['degrees_of_freedom']} degrees of freedom)"
        for data, metrics in table.items()
        for metric, entry in metrics.items()
        if metric.count("/") == 1
    ]
    return "\n".join(lines) or "no experiment has records of several seeds"


def _pooled(repeated: Mapping[str, Sequence[Mapping]], metric: str) -> Noise | None:
    known = {name: list(_values(runs, metric).values()) for name, runs in repeated.items()}
    known = {name: values for name, values in known.items() if len(values) > 1}
    freedom = sum(len(values) - 1 for values in known.values())
    if not freedom:
        return None
    squares = sum((len(values) - 1) * statistics.variance(values) for values in known.values())
    return Noise(variance=squares / freedom, freedom=freedom, experiments=tuple(known))


def _values(records: Sequence[Mapping], metric: str) -> dict[int, float]:
    values = {record["seed"]: record["metrics"].get(metric) for record in records}
    return {seed: value for seed, value in values.items() if value is not None}
