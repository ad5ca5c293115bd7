"""What is known of Location attention beside its tables."""

from __future__ import annotations

from reprolib.papers.facts import Facts, MostlyBelow

FACTS = Facts(
    cell_notes={
        (1, 6, "segm/AP"): "Adding AML to TWFPN + CSMF lowers it (34.6 in row 3).",
        (1, 6, "segm/APs"): "Adding AML to TWFPN + CSMF lowers it (14.5 in row 3).",
        (2, 6, "segm/AP"): "Below the published values for ResNet-101 (41.0 to 42.9); nearer to those for ResNet-50.",
        (
            2,
            7,
            None,
        ): "Reference 32 is Mask2Former, which is run; 42.4 is the value published for Mask2Former trained for"
        " panoptic segmentation. MaskFormer itself reaches about 34.",
        (2, None, "segm/APs"): "Larger than AP in all rows: the column holds AP of large objects.",
        (2, 11, "segm/AP"): "Equals the published value for ResNet-50, though ResNet-101 is stated.",
        (2, 2, "segm/AP"): "Equals the published value for ResNet-50, though ResNet-101 is stated.",
        (2, 12, "time_ms"): "Called the fastest one-stage method; YOLACT and SOLOv2 are faster here.",
        (3, 4, "segm/AP"): "Mean of the printed classes: 31.40.",
        (3, 4, "segm/AP/person"): "Below Mask R-CNN (16.5).",
    },
    claim_rules={
        "LOC-037": MostlyBelow(table=2, rows=range(1, 8), limit=10.0),
    },
)
