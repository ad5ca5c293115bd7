"""Every experiment that a table names can be built, in every profile, and has the parameters that are published.

Built on the meta device; experiments that differ only in data set and schedule are built once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from reprolib.data.cards import CARDS
from reprolib.evaluation.cost import count_parameters, flops, on_meta
from reprolib.experiment import Experiment
from reprolib.papers.catalog import all_experiments, all_tables, facts
from reprolib.papers.reported import load_table
from reprolib.params import Run, load_profile, resolve
from reprolib.pipeline.runs.build import build_model

PARAMS = Path(__file__).parents[2] / "params.yaml"
PROFILES = {name: load_profile(name, path=PARAMS) for name in ("demo", "reference", "paper")}


def model_of(run: Run):
    card = CARDS[run.dataset]
    classes = len(card.classes) or card.class_count
    return on_meta(lambda: build_model(run, num_classes=classes, pretrained=False))


def distinct() -> list[Experiment]:
    """One experiment for each network."""
    return list(
        {
            (one.module, one.backbone, one.components, *sorted(one.switches.items())): one
            for one in all_experiments().values()
        }.values()
    )


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_every_experiment_resolves(profile):
    runs = [resolve(profile, experiment, 0) for experiment in all_experiments().values()]
    assert len({run.id for run in runs}) == len(runs) > 100
    assert all(run.dataset in CARDS for run in runs)


@pytest.mark.parametrize("module", sorted({experiment.module for experiment in all_experiments().values()}))
def test_every_experiment_builds_in_the_demo_and_can_be_costed(module):
    """A record needs FLOPs too: a system that trains but has no dry run would fail after hours."""
    for experiment in distinct():
        if experiment.module == module:
            model = model_of(resolve(PROFILES["demo"], experiment, 0))
            assert flops(model, 64, 64, proposals=10, detections=2) > 0, experiment.id


@pytest.mark.parametrize("module", sorted({experiment.module for experiment in all_experiments().values()}))
def test_every_experiment_builds_at_the_published_scale(module):
    for experiment in distinct():
        if experiment.module == module:
            run = resolve(PROFILES["paper"], experiment, 0)
            assert count_parameters(model_of(run))["params"] > 30e6, experiment.id


@dataclass(frozen=True)
class Count:
    """What we count by the paper's rule; where that is not the printed number, why.

    extra: parameters beyond ours with which the printed number agrees; None where no such thing is known.
    """

    ours: int
    why: str = ""
    extra: int | None = 0


COUNTS = {
    ("iemask_rcnn-8", 1): Count(44_343_216),
    ("iemask_rcnn-8", 2): Count(68_438_592, "as many as with class-agnostic boxes", -79 * 4 * 1025),
    ("iemask_rcnn-8", 3): Count(35_293_711, "140.2 is about the megabytes of these weights in float32", None),
    ("iemask_rcnn-8", 4): Count(77_271_486, "foreign row: no known variant has 112.5 M", None),
    ("iemask_rcnn-8", 5): Count(60_161_792),
    ("iemask_rcnn-8", 6): Count(47_118_080),
    ("iemask_rcnn-8", 7): Count(96_798_604),
    ("iemask_rcnn-8", 8): Count(63_164_224),
    ("iemask_rcnn-8", 9): Count(53_174_836, "without the boundary layers, which only training has", -262_657),
    ("iemask_rcnn-8", 10): Count(73_216_274, "layers that are never used are not built here", 1_179_904 + 590_592),
    ("iemask_rcnn-8", 11): Count(140_065_042, "cannot be exact beside row 10", None),
    ("insight_any_instance-2", 1): Count(44_046_506, "44.05, printed as 44.1", None),
    ("insight_any_instance-2", 2): Count(46_395_778),
    ("insight_any_instance-2", 3): Count(49_182_378),
    ("insight_any_instance-2", 4): Count(44_046_506, "44.05, printed as 44.1", None),
    ("insight_any_instance-2", 5): Count(51_334_530),
    ("seanet-6", 1): Count(63_167_477),
    ("seanet-6", 2): Count(99_091_640),
    # Two pairs of RoI convolutions, the centre-ness output and five scales, the scale of an attention.
    ("seanet-6", 3): Count(57_382_837, "layers that are never used are not built here", 656_384 + 2_305 + 5),
    ("seanet-6", 4): Count(70_667_575, "layers that are never used are not built here", 656_384 + 1),
    ("seanet-6", 5): Count(64_226_551, "layers that are never used are not built here", 656_384 + 2_305 + 5 + 1),
}


def test_every_published_count_of_a_wired_row_is_known():
    wired = {
        (table.id, row.number)
        for table in all_tables().values()
        for row in table.rows
        for cell in load_table(table.paper, table.number)
        if row.experiment and cell.row == row.number and cell.metric == "params_M"
    }
    assert wired == set(COUNTS)


@pytest.mark.parametrize(("table", "row"), COUNTS)
def test_parameters_are_as_published_or_differ_as_explained(table, row):
    table, count = all_tables()[table], COUNTS[table, row]
    printed = next(
        cell for cell in load_table(table.paper, table.number) if (cell.row, cell.metric) == (row, "params_M")
    )
    model = model_of(resolve(PROFILES["paper"], table.rows[row - 1].experiment, 0))
    ours = count_parameters(model)[facts(table.paper).parameters_counted]
    assert ours == count.ours
    agrees = abs(ours / 1e6 - printed.value) <= printed.rounding
    assert agrees == (not count.why), f"{ours / 1e6:.2f} M here, {printed.printed} M printed: {count.why or 'why?'}"
    if count.extra is not None:
        assert abs((ours + count.extra) / 1e6 - printed.value) <= printed.rounding
