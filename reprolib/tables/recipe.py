"""The recipe beside a table: how the publication trained and how this profile's runs did, differences marked.

The published recipe is the profile `paper` of params.yaml. Ours comes from the records, or from the profile where
there are none yet.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reprolib.params import Profile, Run
from reprolib.tables.table_rows import TableRow

NOT_STATED = "not stated"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One item of a recipe, as text."""

    item: str
    published: str
    ours: str

    @property
    def differs(self) -> bool:
        return self.published not in (self.ours, NOT_STATED)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The recipe of those rows of a table that share data set and schedule."""

    dataset: str
    rows: tuple[int, ...]
    ran: bool  # whether `ours` comes from records rather than from the profile
    lines: tuple[Line, ...]


def recipes(rows: Sequence[TableRow], profile: Profile) -> list[Recipe]:
    """One recipe per group of rows that share data set and schedule; none for rows without an experiment."""
    groups: dict[tuple[str, str], list[TableRow]] = {}
    for row in rows:
        if row.experiment is not None:
            groups.setdefault((row.experiment.dataset, row.experiment.schedule), []).append(row)
    return [_recipe(group, profile) for group in groups.values()]


def _recipe(rows: list[TableRow], profile: Profile) -> Recipe:
    shown = next((row for row in rows if row.records), rows[0])
    record = shown.records[0] if shown.records else None
    experiment, published = shown.experiment, shown.published
    backbones = list(dict.fromkeys(row.experiment.backbone for row in rows))
    theirs, ours = {}, {}
    if published:
        theirs = _texts(_of_run(published), backbones)
        theirs |= {"data": experiment.dataset, "runs per row": NOT_STATED}
    if record is not None:
        ours = _texts(record["recipe"], backbones, images_seen=record["training"]["images_seen"])
        name, exact = record["data"]["name"], record["data"]["exact"]
        seeds = len({other["seed"] for row in rows for other in row.records})
    elif run := shown.planned:
        ours = _texts(_of_run(run), backbones)
        name, exact, seeds = run.dataset, run.exact_data, len(profile.seeds)
    if ours:
        ours["data"] = name if exact else f"{name} in place of {experiment.dataset}"
        ours["runs per row"] = str(seeds)
    items = list(dict.fromkeys([*theirs, *ours]))
    lines = tuple(Line(item=item, published=theirs.get(item, "?"), ours=ours.get(item, "?")) for item in items)
    return Recipe(
        dataset=experiment.dataset,
        rows=tuple(row.number for row in rows),
        ran=record is not None,
        lines=lines,
    )


def _of_run(run: Run) -> dict[str, object]:
    """The fields of scale and schedule in one mapping, as a record keeps them."""
    return {
        field.name: getattr(settings, field.name)
        for settings in (run.scale, run.schedule)
        for field in dataclasses.fields(settings)
    }


def _texts(
    recipe: Mapping[str, object],
    backbones: Sequence[str],
    *,
    images_seen: int | None = None,
) -> dict[str, str]:
    """The items that explain most of the differences between two runs, largest first, as text."""
    stand_ins = recipe["backbones"]
    if images_seen is not None:
        seen = f"{images_seen:,}"
    elif recipe["iterations"]:
        seen = f"{recipe['iterations'] * recipe['batch_size']:,}"
    else:
        seen = f"{recipe['epochs']:g} × training images"
    return {
        "data": "",
        "total batch": f"{recipe['batch_size']} images",
        "images seen": seen,
        "learning rate": f"{recipe['lr']:g}" + _backbone_rate(recipe),
        "learning rate per 16 images": f"{recipe['lr'] * 16 / recipe['batch_size']:.3g}",
        "optimiser": _optimiser(recipe),
        "schedule": _schedule(recipe),
        "initialisation": "ImageNet backbone" if recipe["pretrained"] else "from scratch",
        "norm": {"published": "frozen, as published", "batch": "batch norm", "group": "group norm"}.get(
            str(recipe["norm"]), str(recipe["norm"])
        ),
        "frozen stages": {0: "none", 1: "stem", 2: "stem and res2"}[recipe["frozen_stages"]],
        "input, training": f"short side {_sizes(recipe['min_sizes'])}, long side ≤ {recipe['max_size']}"
        + (", flipped" if recipe["flip"] else ""),
        "input, test": f"short side {recipe['test_size']}",
        "backbone": ", ".join(stand_ins.get(name, name) for name in backbones),
        "width": f"{recipe['channels']} channels, box head {recipe['box_hidden']}",
        "anchors": f"{_sizes(recipe['anchor_sizes'])} px",
        "sampling": f"{recipe['rpn_batch']} anchors, {recipe['roi_batch']} RoIs per image",
        "test": f"{recipe['rpn_post_nms'][1]} proposals, {recipe['detections']} detections"
        + (f" above {recipe['score_threshold']:g}" if recipe["score_threshold"] else ""),
        "precision": str(recipe["precision"]),
        "runs per row": "",
    }


def _optimiser(recipe: Mapping) -> str:
    text = "AdamW" if recipe["optimizer"] == "adamw" else f"SGD, momentum {recipe['momentum']:g}"
    text += f", weight decay {recipe['weight_decay']:g}"
    return text + (f", gradients clipped at {recipe['clip_norm']:g}" if recipe["clip_norm"] else "")


def _backbone_rate(recipe: Mapping) -> str:
    factor = recipe.get("backbone_factor", 1)  # records from before there was one
    return "" if factor == 1 else f", backbone × {factor:g}"


def _schedule(recipe: Mapping) -> str:
    counted = "iterations" if recipe["iterations"] else "epochs"
    text = f"{recipe[counted]:,.10g} {counted}"
    if recipe["policy"] == "one_cycle":
        text += ", one cycle"
    elif recipe["milestones"]:
        text += f", × {recipe['gamma']:g} at {' and '.join(f'{step:,.10g}' for step in recipe['milestones'])}"
    return text + (f", warm-up {recipe['warmup_iterations']:,}" if recipe["warmup_iterations"] else "")


def _sizes(values: Sequence[int]) -> str:
    return str(values[0]) if len(values) == 1 else f"{min(values)} to {max(values)}"
