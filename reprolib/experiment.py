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
    oracle_prompts: the evaluation also prompts what was missed and adds metrics to the run's record, see
    `reprolib.evaluation.oracle_prompts`.
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
        """Readable, and different for experiments whose numbers can differ, e.g. `coco-iemask_rcnn_r50-cem+gim`.

        `~` marks what is not the default: switches, oracle prompts, and the module where it is not named after the
        system, e.g. `~module.hq_isnet` of a Cascade Mask R-CNN that HQ-ISNet's module builds.
        """
        name = self.system.lower().replace("r-cnn", "rcnn").replace(" ", "_").replace("-", "_")
        parts = [self.dataset, f"{name}_{BACKBONE_SHORT.get(self.backbone, self.backbone)}"]
        if self.components:
            parts.append("+".join(self.components))
        if self.schedule:
            parts.append(self.schedule)
        marks = dict(self.switches)
        if not _named_after(self.module, name):
            marks["module"] = _module_name(self.module)
        if self.oracle_prompts:
            marks["oracle_prompts"] = True
        return "-".join(parts) + "".join(f"~{key}.{value}" for key, value in sorted(marks.items()))

    def load_module(self) -> ModuleType:
        """The system's module, imported on demand, so that listing experiments needs no torch."""
        return importlib.import_module(self.module)


def _module_name(module: str) -> str:
    """The folder of a `model.py`, e.g. "mask_rcnn"; of another file also its name, e.g. "iemask_rcnn.baseline"."""
    *folders, file = module.split(".")
    return ".".join(folders[-1:] if file == "model" else [*folders[-1:], file])


def _named_after(module: str, system: str) -> bool:
    """Whether a module has a system's name, or its beginning or end, e.g. `knet` of K-Net, `box2mask` of Box2Mask-C."""
    module, system = _module_name(module).replace("_", ""), system.replace("_", "")
    return system.startswith(module) or system.endswith(module) or module.startswith(system)


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
