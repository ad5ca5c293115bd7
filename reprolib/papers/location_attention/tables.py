"""Tables 1 to 3 of the location attention paper and the experiments for them; so far the systems it compares with."""

from __future__ import annotations

from reprolib.experiment import Experiment, Table, rows


def compared(system: str, module: str, *, dataset: str, backbone: str, **switches: object) -> Experiment:
    """A system as MMDetection builds it, trained as the paper trains."""
    return Experiment(
        system=system,
        module=f"reprolib.models.systems.{module}",
        backbone=backbone,
        dataset=dataset,
        switches=switches,
        schedule="location_attention",
    )


TABLE_1 = {1: compared("SOLOv2", "solov2", dataset="coco", backbone="resnet50")}
TABLE_2 = {
    1: compared("Mask R-CNN", "mask_rcnn", dataset="coco", backbone="resnet101", dialect="mm"),
    2: compared("PANet", "panet", dataset="coco", backbone="resnet101"),
    3: compared("Mask Scoring R-CNN", "mask_scoring_rcnn", dataset="coco", backbone="resnet101"),
    8: compared("YOLACT", "yolact", dataset="coco", backbone="resnet101"),
    11: compared("SOLOv2", "solov2", dataset="coco", backbone="resnet101"),
}
TABLE_3 = {
    1: compared("Mask R-CNN", "mask_rcnn", dataset="cityscapes", backbone="resnet50", dialect="mm"),
    2: compared("YOLACT", "yolact", dataset="cityscapes", backbone="resnet50"),
    3: compared("SOLOv2", "solov2", dataset="cityscapes", backbone="resnet50"),
}


TABLES = (
    Table(
        paper="location_attention",
        number=1,
        title="Ablation of CSPAM, TWFPN with CSMF, and AML (COCO)",
        rows=rows(8, TABLE_1),
    ),
    Table(
        paper="location_attention",
        number=2,
        title="Compared with other methods on COCO: accuracy and time",
        rows=rows(12, TABLE_2),
    ),
    Table(
        paper="location_attention",
        number=3,
        title="Compared with other methods on five classes of Cityscapes",
        rows=rows(4, TABLE_3),
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
