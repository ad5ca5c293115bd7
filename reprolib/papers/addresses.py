"""Names of experiments as a user gives them: ids, rows and tables; and what a profile lists by such names.

| address                        | experiments                                              |
| ------------------------------ | -------------------------------------------------------- |
| `coco-iemask_rcnn_r50-cem+gim` | the one with this id                                     |
| `seanet-2:1`                   | that of row 1 of table `seanet-2`                        |
| `seanet-2`                     | those of all rows of the table that have an experiment   |
| `all`                          | those of all tables of all papers                        |

Imports no torch.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import lru_cache

from reprolib.experiment import Experiment, Row, Table
from reprolib.papers.catalog import all_experiments, all_tables, papers
from reprolib.params import ALL, ParamsError, Profile, Run, resolve

ADDRESSES = "experiments: an id, a row (seanet-2:1), a table (seanet-2) or `all`"  # for the help of commands


def resolve_addresses(names: Iterable[str]) -> list[Experiment]:
    """The experiments of all addresses, each once, in the order given. Raises ParamsError with the nearest names."""
    experiments = {experiment.id: experiment for name in names for experiment in _experiments_of(name)}
    return list(experiments.values())


def resolve_address(name: str) -> Experiment:
    """The experiment of an address that names exactly one. Raises ParamsError."""
    experiments = _experiments_of(name)
    if len({experiment.id for experiment in experiments}) > 1:
        raise ParamsError(f"{name!r} names {len(experiments)} experiments where one is taken; {_choose_row(name)}")
    return experiments[0]


def run_by_id(profile: Profile, name: str) -> Run:
    """The run that `<address>-<seed>` names under a profile, e.g. `coco-mask_rcnn_r50-0` or `seanet-2:1-0`."""
    address, _, seed = name.rpartition("-")
    if not seed.isdigit():
        raise ParamsError(f"run {name!r} must end in its seed, for example {name}-0")
    return resolve(profile, resolve_address(address), int(seed))


def table_by_id(name: str) -> Table:
    """Look a table up, for example `iemask_rcnn-3`; raises ParamsError with the nearest names."""
    tables = all_tables()
    if name not in tables:
        raise ParamsError(f"no table {name!r}{_nearest(name, tables)}; see `reprolib list`")
    return tables[name]


def table_of_address(name: str) -> str:
    """The id of the table that an address names or of the row that it names; empty where it names no table."""
    return name.partition(":")[0] if name not in all_experiments() and name != ALL else ""


def profile_experiments(profile: Profile) -> list[Experiment]:
    """What a profile trains and evaluates. Raises ParamsError for an address that names nothing."""
    try:
        return resolve_addresses(profile.experiments)
    except ParamsError as error:
        raise ParamsError(f"profile {profile.name!r} in params.yaml, `experiments`: {error}") from None


def profile_lists(profile: Profile, experiment: Experiment) -> bool:
    """Whether an experiment is among what a profile trains and evaluates."""
    return experiment.id in _ids(profile.experiments, tuple(papers()))


@lru_cache(maxsize=16)
def _ids(addresses: tuple[str, ...], known_papers: tuple[str, ...]) -> frozenset[str]:
    return frozenset(experiment.id for experiment in resolve_addresses(addresses))


def profile_runs(profile: Profile) -> list[Run]:
    """All runs of a profile, seeds innermost."""
    return [resolve(profile, experiment, seed) for experiment in profile_experiments(profile) for seed in profile.seeds]


def profile_tables(profile: Profile) -> list[str]:
    """Ids of the tables that a profile renders. Raises ParamsError for a table that does not exist."""
    return _listed(profile, "tables", list(all_tables()))


def profile_papers(profile: Profile) -> list[str]:
    """Keys of the papers whose notebooks a profile executes. Raises ParamsError for a paper that does not exist."""
    return _listed(profile, "papers", papers())


def _listed(profile: Profile, field: str, known: list[str]) -> list[str]:
    names: list[str] = []
    for name in getattr(profile, field):
        if name != ALL and name not in known:
            raise ParamsError(
                f"profile {profile.name!r} in params.yaml, `{field}`: no {field[:-1]} {name!r}{_nearest(name, known)}"
            )
        names += known if name == ALL else [name]
    return list(dict.fromkeys(names))


def _experiments_of(name: str) -> list[Experiment]:
    experiments, tables = all_experiments(), all_tables()
    if name == ALL:
        return list(experiments.values())
    if name in experiments:
        return [experiments[name]]
    table_id, colon, number = name.partition(":")
    if not colon and table_id not in tables:
        raise ParamsError(f"no experiment {name!r}{_nearest(name, [*experiments, *tables])}; see `reprolib list`")
    table = table_by_id(table_id)
    rows = [_row(table, number)] if colon else table.rows
    found = [row.experiment for row in rows if row.experiment is not None]
    if not found:
        raise ParamsError(f"{name}: nothing there can be run; `reprolib list --table {table_id}` shows what can")
    return found


def _row(table: Table, number: str) -> Row:
    for row in table.rows:
        if str(row.number) == number:
            return row
    raise ParamsError(f"table {table.id} has rows 1 to {len(table.rows)}, no {number!r}")


def _choose_row(name: str) -> str:
    if name == ALL:
        return "see `reprolib list`"
    rows = [f"{name}:{row.number}" for row in table_by_id(name).rows if row.experiment is not None]
    return f"choose from {', '.join(rows)}"


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}" if near else ""
