"""Tables 1 to 3 of the location attention paper and the experiments for them; so far plain Mask R-CNN."""

from __future__ import annotations

from reprolib.experiment import Experiment, Table, rows


def baseline(*, dataset: str, backbone: str) -> Experiment:
    """Mask R-CNN as MMDetection builds it."""
    return Experiment(
        system="Mask R-CNN",
        module="reprolib.models.mask_rcnn",
        backbone=backbone,
        dataset=dataset,
        switches={"dialect": "mm"},
        schedule="location_attention",
    )


TABLES = (
    Table(
        paper="location_attention",
        number=1,
        title="Ablation of CSPAM, TWFPN with CSMF, and AML (COCO)",
        rows=rows(8, {}),
    ),
    Table(
        paper="location_attention",
        number=2,
        title="Compared with other methods on COCO: accuracy and time",
        rows=rows(12, {1: baseline(dataset="coco", backbone="resnet101")}),
    ),
    Table(
        paper="location_attention",
        number=3,
        title="Compared with other methods on five classes of Cityscapes",
        rows=rows(4, {1: baseline(dataset="cityscapes", backbone="resnet50")}),
    ),
)

AUDIT = {
    (2, None, "segm/APs"): "Larger than AP in all rows: the column holds AP of large objects.",
    (2, 11, "segm/AP"): "Equals the published value for ResNet-50, though ResNet-101 is stated.",
    (2, 2, "segm/AP"): "Equals the published value for ResNet-50, though ResNet-101 is stated.",
    (2, 12, "time_ms"): "Called the fastest one-stage method; YOLACT and SOLOv2 are faster here.",
    (3, 4, "segm/AP"): "Mean of the printed classes: 31.40.",
}

OTHER_PROTOCOL = {3: "the paper keeps five of Cityscapes' classes, the suite has all eight"}
