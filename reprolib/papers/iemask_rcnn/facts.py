"""What is known of IEMask R-CNN beside its tables."""

from __future__ import annotations

from reprolib.papers.facts import Facts, GainAgainstGain

FACTS = Facts(
    parameters_counted="params_frozen_norm_excluded",
    cell_notes={
        (3, 8, None): "Components unknown; run as CEM + bottom-up path + AFF (see the paper's card).",
        (4, 5, None): "Table 6 prints 36.7 for the same model: more apart than the AFF gain.",
        (5, 16, "segm/AR1"): "Not the best of its block: Mask Transfiner has 32.5.",
        (5, 24, "segm/APm"): "Not the best of its block: Mask Transfiner has 44.0.",
        (6, 6, "segm/AP50"): "Printed average 61.7, mean of the classes 62.26.",
        (6, 6, "segm/AP50/bicycle"): "Equals the printed average; probably a copy of it.",
        (6, 8, "segm/AP/train"): "Below the Mask R-CNN baseline (35.8).",
        (7, 8, "segm/AP"): "The category-weighted APr, APc, APf give 25.16; the other 23 rows fit to 0.008.",
        (7, 20, "segm/AP"): "Below PointRend's own R-50 (23.98) and R-101 (25.64) rows.",
        (8, 2, "params_M"): "Takes fewer outputs than 80 classes have: 68.11 with class-agnostic boxes, 68.44 here.",
        (8, 2, "flops_G"): "Fits PANet without adaptive feature pooling, whose first layers on four levels cost 48.6.",
        (8, 3, None): "Foreign: AP equals the value in MMDetection's model zoo, so MMDetection's form is run.",
        (8, 3, "params_M"): "No count of parameters: close to the megabytes of YOLACT's weights in float32 (141.2).",
        (8, 4, None): "Foreign: AP equals the value in MMDetection's model zoo, so MMDetection's system is run.",
        (8, 4, "params_M"): "No variant with ResNet-50 has this count: 72.0 to 78.2 M, with ResNet-101 up to 96.3.",
        (8, 9, "params_M"): "Without the layers that predict boundaries in training alone: 52.91 M, as printed.",
        (8, 10, "params_M"): "Counts layers that this version never uses (1.8 M); without them 73.2.",
        (8, 11, "params_M"): "65.0 M more than row 10, but GIM alone has 65.67 M: both cannot be exact.",
    },
    other_protocol={
        (8, 3): "the row is foreign: AP as in MMDetection's model zoo, no time, megabytes in place of parameters",
        (8, 4): "the row is foreign: AP as in MMDetection's model zoo, no time, parameters of no known variant",
    },
    claim_rules={
        "IEM-073": GainAgainstGain(gain=((6, 8), (6, 1)), other=((5, 8), (5, 1))),
    },
)
