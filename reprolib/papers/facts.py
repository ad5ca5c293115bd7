"""What is known of one paper beside its tables: `FACTS` of `papers/<key>/facts.py`. Plain values; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Place = tuple[int, int]  # table, row


@dataclass(frozen=True)
class GainAgainstGain:
    """A claim that sets one gain against another: `gain` and `other` are two rows each, the second subtracted."""

    gain: tuple[Place, Place]
    other: tuple[Place, Place]


@dataclass(frozen=True)
class CountOfMethods:
    """A claim about the number of methods that a table compares with."""

    table: int


@dataclass(frozen=True)
class MostlyBelow:
    """A claim that most of some rows are below a limit."""

    table: int
    rows: range
    limit: float


@dataclass(frozen=True)
class SumOfShares:
    """A claim about the sum of several shares of images in one row."""

    place: Place
    shares: tuple[str, ...]


@dataclass(frozen=True)
class PromptedGain:
    """A claim about a gain of prompted over automatic segmentation, whose cells have different metrics."""


@dataclass(frozen=True)
class AboutEqual:
    """A claim that two numbers are equivalent. within: the largest allowed share of the second."""

    within: float


ClaimRule = GainAgainstGain | CountOfMethods | MostlyBelow | SumOfShares | PromptedGain | AboutEqual


@dataclass(frozen=True, kw_only=True)
class Facts:
    """One paper's facts.

    parameters_counted: which count of a record's `cost` the paper prints as parameters (params, trainable_params or
    params_frozen_norm_excluded), found by comparing printed counts with the architectures; empty where it prints none.
    cell_notes: footnotes of cells, by table, row (None: all) and metric (None: all).
    other_protocol: why even a run at published scale on the data set's own split does not compare, by the number of a
    table or by (table, row), which goes first.
    claim_rules: how a claim about more than two cells is checked, by its id in claims.csv.
    """

    parameters_counted: str = ""
    cell_notes: Mapping[tuple[int, int | None, str | None], str] = field(default_factory=dict)
    other_protocol: Mapping[int | Place, str] = field(default_factory=dict)
    claim_rules: Mapping[str, ClaimRule] = field(default_factory=dict)
