"""Tables I to XI of Insight Any Instance and the experiments for their rows."""

from __future__ import annotations

import dataclasses

from reprolib.experiment import Experiment, Extra, Row, Table, rows
from reprolib.papers.mai_se_net.tables import TABLE_1 as MAI_SE_NET

EVERYTHING = ("lpm", "gpm", "parea")


def insight(*components: str, dataset: str = "isaid", **switches: object) -> Experiment:
    """A host with some of the components: Mask R-CNN, or the one that the switch `host` names."""
    return Experiment(
        system="Insight",
        module="reprolib.papers.insight_any_instance.model",
        backbone="resnet50",
        dataset=dataset,
        components=components,
        switches=switches,
        schedule=schedule_of(dataset),
    )


def on_cascade(dataset: str) -> Experiment:
    """The whole method on Cascade Mask R-CNN, as on every data set but iSAID."""
    return insight(*EVERYTHING, dataset=dataset, host="cascade_mask_rcnn")


def schedule_of(dataset: str) -> str:
    """HRSID has MAI-SE-Net's schedule as its own, so this paper's is named."""
    return "insight" if dataset == "hrsid" else ""


def compared(system: str, module: str, *, dataset: str, backbone: str = "resnet50", **switches: object) -> Experiment:
    """A system as MMDetection builds it. Tables II and III name ResNet-50; the other rows are taken as equal."""
    return Experiment(
        system=system,
        module=f"reprolib.models.systems.{module}.model",
        backbone=backbone,
        dataset=dataset,
        switches=switches,
        schedule=schedule_of(dataset),
    )


def common(
    dataset: str, *, mask_rcnn: int = 2, point_rend: int = 3, mask_scoring: int = 4, cascade: int = 6
) -> dict[int, Experiment]:
    """The systems of every comparison, by the row in which each stands: YOLACT in the first."""
    return {
        1: compared("YOLACT", "yolact", dataset=dataset),
        mask_rcnn: compared("Mask R-CNN", "mask_rcnn", dataset=dataset, dialect="mm"),
        point_rend: compared("PointRend", "pointrend", dataset=dataset, dialect="mm"),
        mask_scoring: compared("Mask Scoring R-CNN", "mask_scoring_rcnn", dataset=dataset),
        cascade: compared("Cascade Mask R-CNN", "cascade_mask_rcnn", dataset=dataset),
    }


BOX2MASK = Experiment(
    system="Box2Mask-C",
    module="reprolib.models.systems.box2mask.model",
    backbone="resnet101",
    dataset="isaid",
    schedule="box2mask",
    switches={"mask_threshold": 0.45},
)
WHOLE = insight(*EVERYTHING)
WHOLE_ON_SCNET = insight(*EVERYTHING, host="scnet")
ISAID = common("isaid", mask_rcnn=4, mask_scoring=5, point_rend=6, cascade=7) | {
    2: BOX2MASK,
    8: compared("HTC", "htc", dataset="isaid"),
    9: compared("SCNet", "scnet", dataset="isaid"),
    11: WHOLE,
    12: on_cascade("isaid"),
    13: WHOLE_ON_SCNET,
}
ISAID_BOXES = common("isaid") | {8: WHOLE, 9: WHOLE_ON_SCNET, 10: on_cascade("isaid")}
ABLATION = {1: ISAID[4], 2: insight("lpm"), 3: insight("gpm"), 4: insight("parea"), 5: WHOLE}
FILTER = Extra(
    name="LPM as a filter",
    why="The paper adds to the crop's spectrum, which adds one and the same picture to every crop; this row is row 2"
    " with the spectrum multiplied instead (switch freq_op).",
    like=2,
)
# "HRNetV2p-W32" cites a Cascade Mask R-CNN with HRNet as backbone. HQ-ISNet's builder has HRNet's pyramid, and with
# these heads nothing else of HQ-ISNet.
NWPU = common("nwpu_vhr10", cascade=5) | {
    6: compared("Cascade Mask R-CNN", "hq_isnet", dataset="nwpu_vhr10", backbone="hrnet_w32", hqis_head="cascade_mm"),
    8: dataclasses.replace(on_cascade("nwpu_vhr10"), oracle_prompts=True),  # for table XI, which shows the same run
}
# Row 4 is quoted and shows the run of its own paper. Rows 2, 8 and 9 are quoted from the same authors, and run as that
# paper is: same split, backbone and epochs. EMIN is taken as MAI-SE-Net with ASPP, NLB and CSAB.
QUOTED = {"dataset": "ssdd", "backbone": "resnet101"}
SSDD = common("ssdd_7_3", mask_rcnn=3, point_rend=5, mask_scoring=6, cascade=7)
SSDD |= {
    2: compared("FL-CSE-RoIE", "fl_cse_roie", **QUOTED),
    4: MAI_SE_NET[7],
    8: compared("C-SE Mask R-CNN", "cse_mask_rcnn", **QUOTED),
    9: MAI_SE_NET[4],
    11: on_cascade("ssdd_7_3"),
}

# Table I is of whole data sets: SSDD has the same images by either split.
TITLES_AND_ROWS = (
    ("Share of images by ratio of foreground pixels", 3, {1: "coco", 2: "nwpu_vhr10", 3: "ssdd"}),
    ("Ablation of LPM, GPM and area loss (iSAID val)", 5, ABLATION),
    ("Masks compared with other methods on iSAID", 13, ISAID),
    ("Boxes compared with other methods on iSAID", 10, ISAID_BOXES),
    ("Masks compared with other methods on NWPU VHR-10", 8, NWPU),
    ("Boxes compared with other methods on NWPU VHR-10", 10, common("nwpu_vhr10") | {10: NWPU[8]}),
    ("Masks compared with other methods on SSDD, split 7:3", 11, SSDD),
    ("Boxes compared with other methods on SSDD, split 7:3", 8, common("ssdd_7_3") | {8: SSDD[11]}),
    ("Masks compared with other methods on HRSID", 7, common("hrsid", cascade=5) | {7: on_cascade("hrsid")}),
    ("Boxes compared with other methods on HRSID", 8, common("hrsid") | {8: on_cascade("hrsid")}),
    ("Segmentation prompted by boxes", 3, {1: NWPU[5], 2: NWPU[8], 3: NWPU[8]}),
)
OTHER_EMIN = Extra(
    name="EMIN, another reading",
    why="Row 9 takes EMIN as MAI-SE-Net's mask interaction. This row passes on features that attended to themselves,"
    " concatenated with those of the box and reduced by a 1x1 convolution.",
    like=9,
)
EXTRA_ROWS = {
    2: (Row(number=6, experiment=insight("lpm", freq_op="multiply"), extra=FILTER),),
    7: (Row(number=12, experiment=compared("EMIN", "emin", **QUOTED), extra=OTHER_EMIN),),
}

TABLES = tuple(
    Table(
        paper="insight_any_instance",
        number=number,
        title=title,
        rows=(*rows(count, found), *EXTRA_ROWS.get(number, ())),
    )
    for number, (title, count, found) in enumerate(TITLES_AND_ROWS, start=1)
)
