"""Tables I to XI of Insight Any Instance and the experiments for their rows; so far plain Mask R-CNN."""

from __future__ import annotations

from reprolib.experiment import Experiment, Table, rows


def baseline(*, dataset: str) -> Experiment:
    """Mask R-CNN as MMDetection builds it. Only table II names the backbone; the others are taken as equal.

    SSDD and HRSID have MAI-SE-Net's schedules as their own, so this paper's is named.
    """
    return Experiment(
        system="Mask R-CNN",
        module="reprolib.models.mask_rcnn",
        backbone="resnet50",
        dataset=dataset,
        switches={"dialect": "mm"},
        schedule="insight" if dataset in ("ssdd", "hrsid") else "",
    )


ISAID, NWPU = baseline(dataset="isaid"), baseline(dataset="nwpu_vhr10")
SSDD, HRSID = baseline(dataset="ssdd"), baseline(dataset="hrsid")

TITLES_AND_ROWS = (
    ("Share of images by ratio of foreground pixels", 3, {}),
    ("Ablation of LPM, GPM and area loss (iSAID val)", 5, {1: ISAID}),
    ("Masks compared with other methods on iSAID", 13, {4: ISAID}),
    ("Boxes compared with other methods on iSAID", 10, {2: ISAID}),
    ("Masks compared with other methods on NWPU VHR-10", 8, {2: NWPU}),
    ("Boxes compared with other methods on NWPU VHR-10", 10, {2: NWPU}),
    ("Masks compared with other methods on SSDD, split 7:3", 11, {3: SSDD}),
    ("Boxes compared with other methods on SSDD, split 7:3", 8, {2: SSDD}),
    ("Masks compared with other methods on HRSID", 7, {2: HRSID}),
    ("Boxes compared with other methods on HRSID", 8, {2: HRSID}),
    ("Segmentation prompted by boxes", 3, {}),
)

TABLES = tuple(
    Table(paper="insight_any_instance", number=number, title=title, rows=rows(count, found))
    for number, (title, count, found) in enumerate(TITLES_AND_ROWS, start=1)
)

AUDIT = {
    (2, 5, "params_M"): "The single modules add up to 51.5.",
    (3, 12, "segm/APm"): "Below the Cascade Mask R-CNN baseline (44.3), while the text calls it the best.",
    (5, 4, "segm/AP"): "Outside the range of its own APs, APm, APl.",
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
    8: "the paper's 7:3 split of SSDD is unpublished, the suite has the official 4:1",
}
