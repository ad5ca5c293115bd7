"""Tables I to XI of Insight Any Instance and the experiments for their rows; so far the systems it compares with."""

from __future__ import annotations

from reprolib.experiment import Experiment, Table, rows
from reprolib.papers.mai_se_net.tables import TABLE_1 as MAI_SE_NET


def compared(system: str, module: str, *, dataset: str, backbone: str = "resnet50", **switches: object) -> Experiment:
    """A system as MMDetection builds it. Tables II and III name ResNet-50; the other rows are taken as equal.

    SSDD and HRSID have MAI-SE-Net's schedules as their own, so this paper's is named.
    """
    return Experiment(
        system=system,
        module=f"reprolib.models.systems.{module}",
        backbone=backbone,
        dataset=dataset,
        switches=switches,
        schedule="insight" if dataset in ("ssdd", "hrsid") else "",
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


ISAID = common("isaid", mask_rcnn=4, mask_scoring=5, point_rend=6, cascade=7) | {
    8: compared("HTC", "htc", dataset="isaid"),
    9: compared("SCNet", "scnet", dataset="isaid"),
}
# "HRNetV2p-W32" cites a Cascade Mask R-CNN with HRNet as backbone. HQ-ISNet's builder has HRNet's pyramid, and with
# these heads nothing else of HQ-ISNet.
NWPU = common("nwpu_vhr10", cascade=5) | {
    6: compared("Cascade Mask R-CNN", "hq_isnet", dataset="nwpu_vhr10", backbone="hrnet_w32", hqis_head="cascade_mm"),
}
# Row 4 is quoted: it shows the run of its own paper.
SSDD = common("ssdd", mask_rcnn=3, point_rend=5, mask_scoring=6, cascade=7) | {4: MAI_SE_NET[7]}

TITLES_AND_ROWS = (
    ("Share of images by ratio of foreground pixels", 3, {1: "coco", 2: "nwpu_vhr10", 3: "ssdd"}),
    ("Ablation of LPM, GPM and area loss (iSAID val)", 5, {1: ISAID[4]}),
    ("Masks compared with other methods on iSAID", 13, ISAID),
    ("Boxes compared with other methods on iSAID", 10, common("isaid")),
    ("Masks compared with other methods on NWPU VHR-10", 8, NWPU),
    ("Boxes compared with other methods on NWPU VHR-10", 10, common("nwpu_vhr10")),
    ("Masks compared with other methods on SSDD, split 7:3", 11, SSDD),
    ("Boxes compared with other methods on SSDD, split 7:3", 8, common("ssdd")),
    ("Masks compared with other methods on HRSID", 7, common("hrsid", cascade=5)),
    ("Boxes compared with other methods on HRSID", 8, common("hrsid")),
    ("Segmentation prompted by boxes", 3, {1: NWPU[5]}),
)

TABLES = tuple(
    Table(paper="insight_any_instance", number=number, title=title, rows=rows(count, found))
    for number, (title, count, found) in enumerate(TITLES_AND_ROWS, start=1)
)

AUDIT = {
    (
        1,
        2,
        None,
    ): "84.1% is no share of 650 images. Masks, areas and boxes of the public annotations give other shares.",
    (1, 3, None): "The older public polygons (SSDD.json) give other shares.",
    (2, 5, "params_M"): "The single modules add up to 51.5.",
    (3, 8, None): "Run without the semantic branch: iSAID has no labels for it.",
    (3, 9, None): "Run without the semantic branch: iSAID has no labels for it.",
    (3, 12, "segm/APm"): "Below the Cascade Mask R-CNN baseline (44.3), while the text calls it the best.",
    (5, 4, "segm/AP"): "Outside the range of its own APs, APm, APl.",
    (5, 6, None): "Probably quoted; run as plain Cascade Mask R-CNN on HRNetV2-W32 with HRNet's pyramid.",
    (6, 1, "bbox/AP"): "Outside the range of its own APs, APm, APl.",
    (7, 4, None): "Quoted from MAI-SE-Net, with another split (4:1) and input size.",
    (7, 2, None): "Quoted from a publication with another split.",
    (7, 8, None): "Quoted from a publication with another split.",
    (7, 9, None): "Quoted from a publication with another split.",
    (8, 4, "bbox/AP"): "Outside the range of its APs, APm, APl; the same model's masks have 64.6.",
    (11, None, None): "The table names neither model nor data set; inferred from equal numbers in table V.",
}

OTHER_PROTOCOL = {
    5: "the paper's 7:3 split of NWPU VHR-10 is unpublished, the suite has another",
    6: "the paper's 7:3 split of NWPU VHR-10 is unpublished, the suite has another",
    7: "the paper's 7:3 split of SSDD is unpublished, the suite has the official 4:1",
    (7, 4): "quoted from MAI-SE-Net's table I, beside which the same run is judged",
    8: "the paper's 7:3 split of SSDD is unpublished, the suite has the official 4:1",
    11: "the paper's 7:3 split of NWPU VHR-10 is unpublished, the suite has another",
}
