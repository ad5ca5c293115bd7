"""Tables 1 to 6 of SEANet and the experiments that reproduce their rows; so far plain Mask R-CNN."""

from __future__ import annotations

from reprolib.experiment import Experiment, Table, rows


def baseline(*, backbone: str) -> Experiment:
    """Mask R-CNN as MMDetection 1.x builds it: box and mask heads count the background (81-way on COCO)."""
    return Experiment(
        system="Mask R-CNN",
        module="reprolib.models.mask_rcnn",
        backbone=backbone,
        dataset="coco",
        switches={"dialect": "mm", "background_channels": True},
        schedule="seanet",
    )


R50, R101, X101 = (baseline(backbone=name) for name in ("resnet50", "resnet101", "resnext101_64x4d"))

TABLES = (
    Table(
        paper="seanet",
        number=1,
        title="Compared with other methods on COCO test-dev",
        rows=rows(11, {4: R101, 5: X101}),
    ),
    Table(
        paper="seanet",
        number=2,
        title="Ablation of box head, attention and edge supervision (COCO val)",
        rows=rows(6, {1: R101}),
    ),
    Table(
        paper="seanet",
        number=3,
        title="With and without SEANet: three backbones, two frameworks (COCO val)",
        rows=rows(12, {1: R50, 3: R101, 5: X101}),
    ),
    Table(paper="seanet", number=4, title="Designs of the attention branches", rows=rows(4, {1: R50})),
    Table(paper="seanet", number=5, title="Accuracy in a band around the boundary", rows=rows(2, {1: R101})),
    Table(paper="seanet", number=6, title="Runtime and parameters", rows=rows(5, {1: R101})),
)

AUDIT = {
    (4, 2, None): "Equals the full model in table 3: the designs appear to include the box head.",
    (5, None, None): "Called classification accuracy, but too low for that; probably another quantity.",
    (6, 5, "params_M"): "The parts of rows 3 and 4 add up to 66.19.",
    (6, 5, "time_ms"): "The parts of rows 3 and 4 add up to 473; whether per batch or per image is not said.",
}
