"""What can be run and what a publication's table says about it.

An `Experiment` knows no paper and no table; a `Row` of a `Table` names the experiment that reproduces it. A paper's
tables stand in `reprolib/papers/<paper>/tables.py` as plain values.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType, ModuleType

BACKBONE_SHORT = MappingProxyType(
    {
        "resnet50": "r50",
        "resnet101": "r101",
        "resnext101_32x8d": "x101_32x8d",
        "resnext101_64x4d": "x101_64x4d",
    }
)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A system with its components, backbone, data set and schedule.

    system: the name as publications print it, e.g. "Mask R-CNN".
    module: dotted path of the module whose `build` makes the detector, as in `reprolib.models.systems.mask_rcnn.model`.
    backbone: timm's name of the published backbone, e.g. "resnet50".
    dataset: the published data set's key, e.g. "coco"; a profile may let another data set stand in for it.
    components: the switched-on parts of a paper's system, lower case, in the order of the paper.
    switches: further keyword arguments of `build`, e.g. {"dialect": "mm"}.
    schedule: a schedule's name in params.yaml where it is not the data set's own.
    oracle_prompts: the evaluation also prompts what was missed, see `reprolib.evaluation.oracle_prompts`. It adds
    metrics to the run's record and is no part of its id.
    """

    system: str
    module: str
    backbone: str
    dataset: str
    components: tuple[str, ...] = ()
    switches: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    schedule: str = ""
    oracle_prompts: bool = False

    @property
    def id(self) -> str:
        """Readable and unique, e.g. `coco-iemask_rcnn_r50-cem+gim`; `~` marks switches off their default."""
        name = self.system.lower().replace("r-cnn", "rcnn").replace(" ", "_").replace("-", "_")
        parts = [self.dataset, f"{name}_{BACKBONE_SHORT.get(self.backbone, self.backbone)}"]
        if self.components:
            parts.append("+".join(self.components))
        if self.schedule:
            parts.append(self.schedule)
        return "-".join(parts) + "".join(f"~{key}.{value}" for key, value in sorted(self.switches.items()))

    def load_module(self) -> ModuleType:
        """The system's module, imported on demand, so that listing experiments needs no torch."""
        return importlib.import_module(self.module)


@dataclass(frozen=True, kw_only=True)
class Extra:
    """What makes a row the suite's own: the publication does not print it, so it has no reported numbers.

    name: as the table shows it. why: what it is there for, a footnote. like: number of the printed row whose data
    set, backbone, components and metrics it has.
    """

    name: str
    why: str
    like: int = 1


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row, printed or extra; extra ones come after the printed ones and go on with their numbers.

    experiment: None where nothing in the suite can run it yet (or ever), and in rows that describe data.
    dataset: the published data set's key in a row that describes one: its numbers come from the report of the prepared
    data set, not from a run.
    """

    number: int
    experiment: Experiment | None = None
    extra: Extra | None = None
    dataset: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """One printed table of a paper; its numbers are in `papers/<paper>/reported/table_<number>.csv`."""

    paper: str
    number: int
    title: str
    rows: tuple[Row, ...] = ()

    @property
    def id(self) -> str:
        return f"{self.paper}-{self.number}"


def rows(count: int, found: Mapping[int, Experiment | str]) -> tuple[Row, ...]:
    """Rows 1..count of a printed table, with what reproduces some of them: an experiment, or the data set described."""
    outside = [number for number in found if not 1 <= number <= count]
    if outside:
        raise ValueError(f"experiments are given for rows {outside}, but the table has rows 1 to {count}")
    return tuple(_row(number, found.get(number)) for number in range(1, count + 1))


def _row(number: int, what: Experiment | str | None) -> Row:
    return Row(number=number, dataset=what) if isinstance(what, str) else Row(number=number, experiment=what)
