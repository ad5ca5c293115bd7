"""What is known of Insight Any Instance beside its tables."""

from __future__ import annotations

from reprolib.papers.facts import Facts, PromptedGain, SumOfShares

QUOTED_UNREAD = "quoted from a publication that could not be read; its 4:1 split of SSDD is inferred"

FACTS = Facts(
    parameters_counted="params",
    cell_notes={
        (1, 2, None): "84.1% is no share of 650 images; neither masks nor areas of the public annotations give it.",
        (1, 3, None): "The older public polygons (SSDD.json) give other shares.",
        (2, 5, "params_M"): "The single modules add up to 51.5.",
        (3, 2, None): "Equals the published value: quoted. Run as inferred, see the card.",
        (3, 8, None): "Run without the semantic branch: iSAID has no labels for it.",
        (3, 9, None): "Run without the semantic branch: iSAID has no labels for it.",
        (3, 12, "segm/APm"): "Below the Cascade Mask R-CNN baseline (44.3), while the text calls it the best.",
        (5, 4, "segm/AP"): "Outside the range of its own APs, APm, APl.",
        (5, 6, None): "Probably quoted; run as plain Cascade Mask R-CNN on HRNetV2-W32 with HRNet's pyramid.",
        (6, 1, "bbox/AP"): "Outside the range of its own APs, APm, APl.",
        (7, 4, None): "Quoted from MAI-SE-Net, with another split (4:1) and input size.",
        (7, 2, None): "Quoted from a publication with another split.",
        (7, 8, None): "Quoted from a publication with another split.",
        (7, 9, None): "Quoted from a publication with another split; run as MAI-SE-Net with ASPP, NLB and CSAB.",
        (8, 4, "bbox/AP"): "Outside the range of its APs, APm, APl; the same model's masks have 64.6.",
        (11, 3, None): "An oracle: the ground truth's boxes of missed instances are prompted (see the card).",
        (11, None, None): "The table names neither model nor data set; inferred from equal numbers in table V.",
    },
    other_protocol={
        5: "the paper's 7:3 split of NWPU VHR-10 is unpublished, the suite has another",
        6: "the paper's 7:3 split of NWPU VHR-10 is unpublished, the suite has another",
        7: "the paper's 7:3 split of SSDD is unpublished, the suite has another",
        (7, 2): QUOTED_UNREAD,
        (7, 4): "quoted from MAI-SE-Net's table I, beside which the same run is judged",
        (7, 8): QUOTED_UNREAD,
        (7, 9): QUOTED_UNREAD,
        (7, 12): QUOTED_UNREAD,
        8: "the paper's 7:3 split of SSDD is unpublished, the suite has another",
        11: "the paper's 7:3 split of NWPU VHR-10 is unpublished, the suite has another",
    },
    claim_rules={
        "IAI-058": PromptedGain(),
        "IAI-060": SumOfShares(place=(1, 2), shares=("[0.0,0.1)", "[0.1,0.2)")),
        "IAI-061": SumOfShares(place=(1, 3), shares=("[0.0,0.1)",)),
    },
)
