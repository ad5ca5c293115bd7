"""What is known of SEANet beside its tables."""

from __future__ import annotations

from reprolib.papers.facts import AboutEqual, Facts, GainAgainstGain

# By which the printed counts differ from ours: layers that the published code builds and never uses.
UNUSED = "With layers that the published code builds and never uses. The switch count_dead_roi_convs builds them: {} M."

FACTS = Facts(
    parameters_counted="trainable_params",
    cell_notes={
        (4, 2, None): "Equals the full model in table 3: the designs appear to include the box head.",
        (4, 4, None): "With the attention modules, without the loss of their edges. There is no design (c).",
        (5, None, None): "Called classification accuracy, but too low for that; probably another quantity.",
        (6, 2, None): "HTC with its semantic branch, by its parameters: Cascade Mask R-CNN has 96.09 M.",
        (6, 3, "params_M"): UNUSED.format("58.04"),
        (6, 4, "params_M"): UNUSED.format("71.32"),
        (6, 5, "params_M"): UNUSED.format("64.89")
        + " The parts of rows 3 and 4 add up to 66.19: both hold the fusion (1.31 M), which row 1 lacks.",
        (6, 5, "time_ms"): "The parts of rows 3 and 4 add up to 473; whether per batch or per image is not said.",
    },
    other_protocol={5: "what the paper measured in the band is not known: two classes would give more than 50%"},
    claim_rules={
        "SEA-075": GainAgainstGain(gain=((3, 8), (3, 7)), other=((3, 2), (3, 1))),
        "SEA-076": GainAgainstGain(gain=((3, 10), (3, 9)), other=((3, 4), (3, 3))),
        "SEA-077": GainAgainstGain(gain=((3, 12), (3, 11)), other=((3, 6), (3, 5))),
        "SEA-085": AboutEqual(within=0.05),
    },
)
