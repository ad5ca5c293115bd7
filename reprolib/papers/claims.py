"""`papers/<key>/claims.csv`: every sentence of a publication that compares numbers, with its cells."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from reprolib.papers.folders import paper_folders, shown

COLUMNS = (
    "claim_id",
    "claim_type",
    "text",
    "tables",
    "metric",
    "minuend",
    "subtrahend",
    "claimed_delta",
    "table_delta",
    "consistent",
    "note",
)
EXPANDED = "expanded per metric/row from a general statement"
TYPES = {"numeric", "ordinal/qualitative", EXPANDED, "no number in the text"}
JUDGEMENTS = {"yes", "no", "not checkable"}


class ClaimsError(ValueError):
    """The claims cannot be read; the message names file, line and field."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A row that a claim speaks of. rank: "second best", "best other" or empty, what the claim says it is."""

    rank: str
    table: int
    row: int


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim. minuend, subtrahend: rows, None where the claim speaks of no single row (then see their texts).

    claimed: the printed difference or value, or a condition such as ">0". consistent: whether the paper's own tables
    bear it out, by claims.csv (yes, no, not checkable), which the audit does not use. expanded: our row of a general
    statement.
    """

    paper: str
    id: str
    type: str
    text: str
    metric: str
    minuend: Place | None
    subtrahend: Place | None
    minuend_text: str
    subtrahend_text: str
    claimed: str
    table_delta: str
    consistent: str
    note: str

    @property
    def expanded(self) -> bool:
        """Whether the publication says it in general, and only claims.csv of this cell."""
        return self.type == EXPANDED


def load_claims() -> tuple[Claim, ...]:
    """All claims of all papers. Raises ClaimsError."""
    claims = [claim for paper, folder in paper_folders().items() for claim in _load(paper, folder / "claims.csv")]
    if twice := sorted({claim.id for claim in claims if [other.id for other in claims].count(claim.id) > 1}):
        raise ClaimsError(f"claim_id must be unique among all papers, {', '.join(twice)} is not")
    return tuple(claims)


@lru_cache(maxsize=64)
def _load(paper: str, path: Path) -> tuple[Claim, ...]:
    if not path.is_file():
        raise ClaimsError(f"{shown(path)} is missing; without a claim it holds the line of columns alone")
    return parse_claims(path.read_text(encoding="utf-8"), paper=paper, name=shown(path))


def parse_claims(text: str, *, paper: str, name: str) -> tuple[Claim, ...]:
    """Parse the CSV text of one paper; `name` is the file that error messages name. Raises ClaimsError."""
    reader = csv.reader(io.StringIO(text, newline=""))
    if tuple(next(reader, ())) != COLUMNS:
        raise ClaimsError(f"{name}, line 1: the columns must be {','.join(COLUMNS)}")
    claims: list[Claim] = []
    for fields in reader:
        where = f"{name}, line {reader.line_num}"
        if len(fields) != len(COLUMNS):
            raise ClaimsError(f"{where}: {len(fields)} fields instead of {len(COLUMNS)}")
        claims.append(_claim(dict(zip(COLUMNS, fields, strict=True)), paper=paper, where=where))
    ids = [claim.id for claim in claims]
    if twice := sorted({name for name in ids if ids.count(name) > 1}):
        raise ClaimsError(f"{name}: claim_id must be unique, {', '.join(twice)} is not")
    return tuple(claims)


def _claim(fields: dict[str, str], *, paper: str, where: str) -> Claim:
    for field, allowed in (("claim_type", TYPES), ("consistent", JUDGEMENTS)):
        if fields[field] not in allowed:
            raise ClaimsError(f"{where}: {field} must be one of {sorted(allowed)}, not {fields[field]!r}")
    return Claim(
        paper=paper,
        id=fields["claim_id"],
        type=fields["claim_type"],
        text=fields["text"],
        metric=fields["metric"],
        minuend=_place(fields["minuend"]),
        subtrahend=_place(fields["subtrahend"]),
        minuend_text=fields["minuend"],
        subtrahend_text=fields["subtrahend"],
        claimed=fields["claimed_delta"],
        table_delta=fields["table_delta"],
        consistent=fields["consistent"],
        note=fields["note"],
    )


def _place(text: str) -> Place | None:
    match = re.match(r"(?:(second best|best other) = )?T(\d+) row (\d+)(?:: |$)", text)
    return Place(rank=match[1] or "", table=int(match[2]), row=int(match[3])) if match else None
