"""Tables 1 to 6 of SEANet and the experiments that reproduce their rows; so far the systems it compares with."""

from __future__ import annotations

from reprolib.experiment import Experiment, Table, rows


def compared(system: str, module: str, *, backbone: str = "resnet101", **switches: object) -> Experiment:
    """A system as MMDetection 1.x builds it, trained as the paper trains."""
    return Experiment(
        system=system,
        module=f"reprolib.models.systems.{module}",
        backbone=backbone,
        dataset="coco",
        switches=switches,
        schedule="seanet",
    )


def baseline(backbone: str) -> Experiment:
    """Mask R-CNN whose box and mask heads count the background (81-way on COCO), as all of the fork's do."""
    return compared("Mask R-CNN", "mask_rcnn", backbone=backbone, dialect="mm", background_channels=True)


def mask_scoring(backbone: str) -> Experiment:
    """Mask Scoring R-CNN on the same heads: the paper's second framework without SEANet."""
    return compared("Mask Scoring R-CNN", "mask_scoring_rcnn", backbone=backbone, background_channels=True)


BACKBONES = ("resnet50", "resnet101", "resnext101_64x4d")
R50, R101, X101 = map(baseline, BACKBONES)
MS_R50, MS_R101, MS_X101 = map(mask_scoring, BACKBONES)

# What table 6 calls Cascade Mask R-CNN has the parameters of HTC with its semantic branch, so that stands here, with
# what MMDetection 1.x builds and never uses.
CALLED_CASCADE = compared("HTC", "htc", background_channels=True, keep_dead_params=True, semantic_source="stuff")

TABLES = (
    Table(
        paper="seanet",
        number=1,
        title="Compared with other methods on COCO test-dev",
        rows=rows(11, {4: R101, 5: X101, 6: MS_R101, 7: MS_X101}),
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
        rows=rows(12, {1: R50, 3: R101, 5: X101, 7: MS_R50, 9: MS_R101, 11: MS_X101}),
    ),
    Table(paper="seanet", number=4, title="Designs of the attention branches", rows=rows(4, {1: R50})),
    Table(paper="seanet", number=5, title="Accuracy in a band around the boundary", rows=rows(2, {1: R101})),
    Table(paper="seanet", number=6, title="Runtime and parameters", rows=rows(5, {1: R101, 2: CALLED_CASCADE})),
)

AUDIT = {
    (4, 2, None): "Equals the full model in table 3: the designs appear to include the box head.",
    (5, None, None): "Called classification accuracy, but too low for that; probably another quantity.",
    (6, 2, None): "HTC with its semantic branch, by its parameters: Cascade Mask R-CNN has 96.09 M.",
    (6, 5, "params_M"): "The parts of rows 3 and 4 add up to 66.19.",
    (6, 5, "time_ms"): "The parts of rows 3 and 4 add up to 473; whether per batch or per image is not said.",
}
