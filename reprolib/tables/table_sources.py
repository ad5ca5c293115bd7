"""The first of four steps to a table: read what it rests on.

`table_sources` reads reported numbers, records, matches and data reports; `table_rows` joins them; `table_verdicts`
adds intervals and verdicts; `render` writes the table. Each step takes what the one before returned. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from reprolib.evaluation.record import read_records
from reprolib.experiment import Table
from reprolib.papers.reported import Cell, load_table
from reprolib.params import Profile, load_profile
from reprolib.tables.bootstrap_draws import BootstrapDraws, read_draws
from reprolib.tables.data_reports import read_reports
from reprolib.tables.seed_noise import SeedNoise


@dataclass(frozen=True, kw_only=True)
class TableSources:
    """What tables rest on under one profile.

    paper: the profile that holds the published recipes, None where there is none. records: by run id, all that the
    profile has. reports: on data, by prepared data set. draws: by run id, of the runs that left matches; without them
    intervals come from seeds alone.
    """

    profile: Profile
    paper: Profile | None = None
    records: Mapping[str, Mapping] = field(default_factory=dict)
    reports: Mapping[str, Mapping] = field(default_factory=dict)
    draws: Mapping[str, BootstrapDraws] = field(default_factory=dict)

    @cached_property
    def seed_noise(self) -> SeedNoise:
        """The noise between seeds that the records show."""
        return SeedNoise(self.records)

    def reported(self, table: Table) -> tuple[Cell, ...]:
        """The numbers that a table prints. Raises ReportedError."""
        return load_table(table.paper, table.number)


def read_sources(
    tables: Sequence[Table], profile_name: str | None = None, *, params: str | Path = "params.yaml"
) -> TableSources:
    """Read what the given tables rest on, each file once.

    Raises ParamsError for an unknown profile, RecordError for a record that cannot be read, ValueError for such a
    report on data, MatchesError for such a file of matches.
    """
    profile = load_profile(profile_name, path=params)
    paper = profile if profile.name == "paper" else load_profile("paper", path=params)
    results = Path(params).parent / profile.results
    records = read_records(results / "records")
    shown = {row.experiment.id for table in tables for row in table.rows if row.experiment}
    draws = read_draws(results, [record for record in records.values() if record["experiment"] in shown])
    return TableSources(
        profile=profile, paper=paper, records=records, reports=read_reports(results / "data"), draws=draws
    )
