"""Whether a record's numbers can be compared with reported ones: same data, split, scale, training and machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from reprolib.papers import catalog
from reprolib.papers.reported import Cell
from reprolib.params import Run, Scale

MEASURED_BY_CLOCK = frozenset({"time_ms", "fps"})

# Fields of the scale that make a network another network than the published one.
_SCALE_FIELDS = ("channels", "box_hidden", "norm", "pretrained", "anchor_sizes")


def why_not_comparable(record: Mapping, cell: Cell, published: Run | None) -> list[str]:
    """Why a record's number says nothing about a reported one; empty where it does.

    published: the run as published, None where the profile of published recipes does not have it.
    """
    reasons = []
    if not record["data"]["exact"]:
        reasons.append(f"other data ({record['data']['name']} stands in for {record['dataset']})")
    if cell.split == "test-dev":
        reasons.append(f"reported on test-dev, run on {record['data']['split']}")
    if protocol := catalog.other_protocol(cell.paper, cell.table, cell.row):
        reasons.append(protocol)
    reasons += _other_scale(record, published)
    if cell.metric in MEASURED_BY_CLOCK:
        reasons.append(f"time on other hardware ({record['speed']['hardware']})")
    return reasons


def _other_scale(record: Mapping, published: Run | None) -> list[str]:
    """How the network or its training differs from the published one, in words."""
    recipe = record["recipe"]
    scale = published.scale if published else Scale()
    reasons = []
    backbone = recipe.get("backbones", {}).get(record["backbone"], record["backbone"])
    if backbone != record["backbone"]:
        reasons.append(f"other backbone ({backbone} stands in for {record['backbone']})")
    changed = [name for name in _SCALE_FIELDS if _listed(recipe.get(name)) != _listed(getattr(scale, name))]
    if changed:
        reasons.append(f"other scale ({', '.join(name.replace('_', ' ') for name in changed)})")
    if published:
        ours, theirs = _length(recipe), _length(dataclasses.asdict(published.schedule))
        if ours and theirs and ours[0] == theirs[0] and ours[1] < 0.9 * theirs[1]:
            reasons.append(f"shorter training ({ours[1]:,g} of {theirs[1]:,.10g} {ours[0]})")
    return reasons


def _length(schedule: Mapping) -> tuple[str, float] | None:
    if schedule.get("iterations"):
        return "images", schedule["iterations"] * schedule["batch_size"]
    return ("epochs", schedule["epochs"]) if schedule.get("epochs") else None


def _listed(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
