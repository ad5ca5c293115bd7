"""Tables I to III of MAI-SE-Net and the experiments that reproduce their rows; so far plain Mask R-CNN."""

from __future__ import annotations

from reprolib.experiment import Experiment, Table, rows


def baseline(*, dataset: str) -> Experiment:
    """Mask R-CNN as MMDetection builds it; the authors trained all compared networks alike."""
    return Experiment(
        system="Mask R-CNN",
        module="reprolib.models.mask_rcnn",
        backbone="resnet101",
        dataset=dataset,
        switches={"dialect": "mm"},
    )


TABLES = (
    Table(
        paper="mai_se_net",
        number=1,
        title="SSDD: components added one by one (rows 1 to 7), then other methods",
        rows=rows(19, {8: baseline(dataset="ssdd")}),
    ),
    Table(
        paper="mai_se_net",
        number=2,
        title="HRSID: components added one by one (rows 1 to 7), then other methods",
        rows=rows(19, {8: baseline(dataset="hrsid")}),
    ),
    Table(
        paper="mai_se_net",
        number=3,
        title="SSDD: one component removed at a time (row 7: none removed)",
        rows=rows(7, {}),
    ),
)

AUDIT = {
    (1, None, "fps"): "In a fixed ratio to the other set's in 14 of 19 rows: probably not measured.",
    (2, None, "fps"): "In a fixed ratio to the other set's in 14 of 19 rows: probably not measured.",
    (1, None, "bbox/APl"): "Unstable: very few large ships; between 13.3 and 68.3 over the ablations.",
    (3, None, "bbox/APl"): "Unstable: very few large ships; between 13.3 and 68.3 over the ablations.",
    (2, 7, "segm/APm"): "Below the baseline of row 1 (63.8).",
}
