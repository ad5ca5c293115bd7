"""Tables 1 to 6 of SEANet and the experiments that reproduce their rows."""

from __future__ import annotations

from reprolib.experiment import Experiment, Extra, Row, Table, rows

EVERYTHING = ("biou", "attention", "edge")


def seanet(*components: str, backbone: str = "resnet101", **switches: object) -> Experiment:
    """SEANet with some of its components; without any it is Mask R-CNN with its fusion of pyramid levels."""
    return Experiment(
        system="SEANet",
        module="reprolib.papers.seanet.model",
        backbone=backbone,
        dataset="coco",
        components=components,
        switches=switches,
        schedule="seanet",
    )


def compared(system: str, module: str, *, backbone: str = "resnet101", **switches: object) -> Experiment:
    """A system as MMDetection 1.x builds it, trained as the paper trains."""
    return Experiment(
        system=system,
        module=f"reprolib.models.systems.{module}.model",
        backbone=backbone,
        dataset="coco",
        switches=switches,
        schedule="seanet",
    )


def mask_rcnn(backbone: str) -> tuple[Experiment, Experiment]:
    """Mask R-CNN and SEANet on it. Box and mask heads count the background (81-way on COCO), as all of the fork's."""
    plain = compared("Mask R-CNN", "mask_rcnn", backbone=backbone, dialect="mm", background_channels=True)
    return plain, seanet(*EVERYTHING, backbone=backbone)


def mask_scoring(backbone: str) -> tuple[Experiment, Experiment]:
    """Mask Scoring R-CNN on the same heads, the paper's second framework, and SEANet on it."""
    plain = compared("Mask Scoring R-CNN", "mask_scoring_rcnn", backbone=backbone, background_channels=True)
    return plain, seanet(*EVERYTHING, backbone=backbone, host="mask_scoring_rcnn")


BACKBONES = ("resnet50", "resnet101", "resnext101_64x4d")
(R50, SEANET_R50), (R101, SEANET_R101), (X101, SEANET_X101) = map(mask_rcnn, BACKBONES)
(MS_R50, SEANET_MS_R50), (MS_R101, SEANET_MS_R101), (MS_X101, SEANET_MS_X101) = map(mask_scoring, BACKBONES)
BOX_HEAD, EDGE_ATTENTION = seanet("biou"), seanet("attention", "edge")
FUSION = seanet()
# `auto` is what the code does where a run starts from ImageNet, and trainable where it does not.
AS_CODED = seanet(*EVERYTHING, variant="code", reg_parametrization="auto", tower_init="auto")

# What table 6 calls Cascade Mask R-CNN has the parameters of HTC with its semantic branch, so that stands here, with
# what MMDetection 1.x builds and never uses.
CALLED_CASCADE = compared("HTC", "htc", background_channels=True, keep_dead_params=True, semantic_source="stuff")

# By its own recipe: the paper quotes it.
FCIS = Experiment(
    system="FCIS",
    module="reprolib.models.systems.fcis.model",
    backbone="resnet101",
    dataset="coco",
    schedule="fcis",
)

TABLE_2 = {
    1: R101,
    2: BOX_HEAD,
    3: seanet("attention"),
    4: seanet("biou", "attention"),
    5: EDGE_ATTENTION,
    6: SEANET_R101,
}

WITH_FUSION = Extra(
    name="Mask R-CNN + fusion",
    why="The published code fuses all pyramid levels in every row of SEANet but not in its baseline, so that the"
    " reported gains are gains of the fusion too; this row has the fusion and nothing else of SEANet.",
)
CODED = Extra(
    name="SEANet as its code computes it",
    why="Row 6 with the code's own losses, IoU activation and choice of the box where paper and code differ"
    " (switch variant).",
    like=6,
)

TABLES = (
    Table(
        paper="seanet",
        number=1,
        title="Compared with other methods on COCO test-dev",
        rows=rows(
            11,
            {
                1: compared("MNC", "mnc"),
                2: FCIS,
                4: R101,
                5: X101,
                6: MS_R101,
                7: MS_X101,
                8: SEANET_R101,
                9: SEANET_X101,
                10: SEANET_MS_R101,
                11: SEANET_MS_X101,
            },
        ),
    ),
    Table(
        paper="seanet",
        number=2,
        title="Ablation of box head, attention and edge supervision (COCO val)",
        rows=(
            *rows(6, TABLE_2),
            Row(number=7, experiment=FUSION, extra=WITH_FUSION),
            Row(number=8, experiment=AS_CODED, extra=CODED),
        ),
    ),
    Table(
        paper="seanet",
        number=3,
        title="With and without SEANet: three backbones, two frameworks (COCO val)",
        rows=rows(
            12,
            {
                1: R50,
                2: SEANET_R50,
                3: R101,
                4: SEANET_R101,
                5: X101,
                6: SEANET_X101,
                7: MS_R50,
                8: SEANET_MS_R50,
                9: MS_R101,
                10: SEANET_MS_R101,
                11: MS_X101,
                12: SEANET_MS_X101,
            },
        ),
    ),
    Table(
        paper="seanet",
        number=4,
        title="Designs of the attention branches",
        rows=rows(
            4,
            {
                1: R50,
                2: SEANET_R50,
                3: seanet(*EVERYTHING, backbone="resnet50", edge_fuse="concat"),
                4: seanet("biou", "attention", backbone="resnet50"),
            },
        ),
    ),
    Table(
        paper="seanet",
        number=5,
        title="Accuracy in a band around the boundary",
        rows=rows(2, {1: R101, 2: SEANET_R101}),
    ),
    Table(
        paper="seanet",
        number=6,
        title="Runtime and parameters",
        rows=(
            *rows(5, {1: R101, 2: CALLED_CASCADE, 3: BOX_HEAD, 4: EDGE_ATTENTION, 5: SEANET_R101}),
            Row(number=6, experiment=FUSION, extra=WITH_FUSION),
        ),
    ),
)
