"""What is known of MAI-SE-Net beside its tables."""

from __future__ import annotations

from reprolib.papers.facts import CountOfMethods, Facts

FACTS = Facts(
    cell_notes={
        (1, None, "fps"): "In a fixed ratio to the other set's in 14 of 19 rows: probably not measured.",
        (2, None, "fps"): "In a fixed ratio to the other set's in 14 of 19 rows: probably not measured.",
        (1, None, "bbox/APl"): "Unstable: very few large ships; between 13.3 and 68.3 over the ablations.",
        (3, None, "bbox/APl"): "Unstable: very few large ships; between 13.3 and 68.3 over the ablations.",
        (2, 7, "segm/APm"): "Below the baseline of row 1 (63.8).",
    },
    claim_rules={
        "MAI-109": CountOfMethods(table=1),
    },
)
