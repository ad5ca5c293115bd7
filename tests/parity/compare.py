"""The difference of two recordings, per group of quantities."""

from __future__ import annotations

import re

from tests.parity.recording import Recording, array_difference, row_difference

# Float noise: relative to the largest magnitude of the same quantity.
TOLERANCE = 1e-4
# Of what follows a selection (NMS) or a threshold from an image on: noise moves single pixels over the threshold.
END_TO_END = 1e-3
# Of gradients: in float32 one unit whose ReLU is at its kink can be on for one side and off for the other. So it is in
# Cascade Mask R-CNN's mask loss: 5e-4 in float32, 2e-8 where both sides compute in float64.
GRADIENTS = 2e-3
# Gradients of a layer that hardly trains are compared on this share of the largest gradient's scale.
FAINT = 1e-4


def differences(reference: Recording, ours: Recording) -> dict[str, float]:
    """Group -> largest relative difference; infinite where one side has something that the other lacks.

    A group is a table, or the arrays that differ in the image's number alone.
    """
    groups: dict[str, float] = {}
    for name in reference.arrays | ours.arrays:
        group = re.sub(r" \d+$", "", name)
        both = name in reference.arrays and name in ours.arrays
        found = array_difference(reference.arrays[name], ours.arrays[name]) if both else float("inf")
        groups[group] = max(groups.get(group, 0.0), found)
    for name in reference.tables | ours.tables:
        groups[name] = max(by_row(reference, ours, name).values())
    return groups


def tolerance(group: str) -> float:
    """The difference from which a group of quantities is not equal."""
    if group.startswith("gradients"):
        return GRADIENTS
    return END_TO_END if group.startswith("end to end") or "pixels" in group else TOLERANCE


def by_row(reference: Recording, ours: Recording, table: str) -> dict[str, float]:
    """Row -> relative difference."""
    theirs, mine = reference.tables.get(table, {}), ours.tables.get(table, {})
    floor = FAINT * max((row[1] for row in theirs.values()), default=0.0) if table.startswith("gradients") else 0.0
    return {
        row: row_difference(theirs[row], mine[row], floor=floor) if row in theirs and row in mine else float("inf")
        for row in theirs | mine
    }
