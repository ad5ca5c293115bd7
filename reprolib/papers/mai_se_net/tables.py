"""Tables I to III of MAI-SE-Net and the experiments that reproduce their rows."""

from __future__ import annotations

from reprolib.experiment import Experiment, Table, rows

EVERYTHING = ("aspp", "nlb", "csab", "carafeb", "fbo", "gcb")


def mai_se_net(*components: str, dataset: str) -> Experiment:
    """MAI-SE-Net with some of its components."""
    return Experiment(
        system="MAI-SE-Net",
        module="reprolib.papers.mai_se_net.model",
        backbone="resnet101",
        dataset=dataset,
        components=components,
    )


def compared(system: str, module: str, *, dataset: str, backbone: str = "resnet101", **switches: object) -> Experiment:
    """A system that the paper compares with, as MMDetection builds it; the authors trained all networks alike."""
    return Experiment(
        system=system,
        module=f"reprolib.models.systems.{module}.model",
        backbone=backbone,
        dataset=dataset,
        switches=switches,
    )


def table_of(dataset: str) -> dict[int, Experiment]:
    """Rows of tables I and II. The check marks of rows 2 to 5 are lost; the columns' order gives them."""
    htc = compared("HTC", "htc", dataset=dataset)
    full = mai_se_net(*EVERYTHING, dataset=dataset)
    ladder = {1 + count: mai_se_net(*EVERYTHING[:count], dataset=dataset) for count in range(1, len(EVERYTHING))}
    others = {
        8: compared("Mask R-CNN", "mask_rcnn", dataset=dataset, dialect="mm"),
        9: compared("Mask Scoring R-CNN", "mask_scoring_rcnn", dataset=dataset),
        10: compared("Cascade Mask R-CNN", "cascade_mask_rcnn", dataset=dataset),
        11: htc,
        # MMDetection, which the authors used, has PANet's bottom-up path and no other part of it.
        12: compared("PANet", "panet", dataset=dataset, panet_parts="neck"),
        13: compared("YOLACT", "yolact", dataset=dataset),
        14: compared("GRoIE", "groie", dataset=dataset),
        15: compared("HQ-ISNet", "hq_isnet", dataset=dataset, backbone="hrnet_w18"),
        16: compared("HQ-ISNet", "hq_isnet", dataset=dataset, backbone="hrnet_w32"),
        17: compared("HQ-ISNet", "hq_isnet", dataset=dataset, backbone="hrnet_w40"),
        18: compared("SA R-CNN", "sa_rcnn", dataset=dataset, backbone="resnet50"),
    }
    return {1: htc, **ladder, 7: full, **others, 19: full}


TABLE_1 = table_of("ssdd")
TABLE_2 = table_of("hrsid")
TABLE_3 = {
    case: mai_se_net(*(name for name in EVERYTHING if name != removed), dataset="ssdd")
    for case, removed in enumerate(EVERYTHING, start=1)
} | {7: TABLE_1[7]}

TABLES = (
    Table(
        paper="mai_se_net",
        number=1,
        title="SSDD: components added one by one (rows 1 to 7), then other methods",
        rows=rows(19, TABLE_1),
    ),
    Table(
        paper="mai_se_net",
        number=2,
        title="HRSID: components added one by one (rows 1 to 7), then other methods",
        rows=rows(19, TABLE_2),
    ),
    Table(
        paper="mai_se_net",
        number=3,
        title="SSDD: one component removed at a time (row 7: none removed)",
        rows=rows(7, TABLE_3),
    ),
)
