"""SEANet's mask branch: Mask R-CNN's or Mask Scoring R-CNN's, with edges trained beside the masks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from reprolib.models.dialects import find_dialect
from reprolib.models.two_stage.box_head import of_class
from reprolib.models.two_stage.mask_branch import MaskBranch, mask_loss
from reprolib.models.two_stage.mask_head import MaskHead
from reprolib.models.two_stage.mask_iou_head import MaskIoUHead, mask_iou_loss, mask_iou_targets
from reprolib.models.two_stage.mask_scoring_branch import MaskScoringBranch, visible_shares
from reprolib.models.two_stage.samples import Samples
from reprolib.papers.seanet.edges import edge_labels, edge_loss
from reprolib.papers.seanet.mask_attention import EdgeAttentionMaskHead
from reprolib.papers.seanet.switches import Switches
from reprolib.params import Scale


class EdgeMaskBranch(MaskBranch):
    """A `MaskBranch` whose head is an `EdgeAttentionMaskHead`; inference leaves the edge map out.

    edge_loss: (edge logits, masks wanted), both [R,o,o] -> scalar. None: no edge supervision; the layers that only
    predict edges stay in their place then, but frozen, since no gradient could reach them.
    Other parameters: see `MaskBranch`.
    """

    def __init__(
        self, *, head: EdgeAttentionMaskHead, edge_loss: Callable[[Tensor, Tensor], Tensor] | None, **branch
    ) -> None:
        super().__init__(head=head, **branch)
        self.edge_loss = edge_loss
        head.edge_predictor.requires_grad_(edge_loss is not None)

    def losses(self, features: list[Tensor], positives: Samples, targets: list[dict]) -> dict[str, Tensor]:
        """loss_mask as Mask R-CNN's and, with supervision, loss_edge (paper, Eq. 6; both weights are 1)."""
        logits, edges = self.head.with_edges(self.roi_features(features, positives.boxes))
        wanted = self.mask_targets(positives, targets, size=logits.shape[-1])
        return self.mask_and_edge_losses(logits.float(), edges.float(), positives, wanted)

    def mask_and_edge_losses(
        self, logits: Tensor, edges: Tensor, positives: Samples, wanted: Tensor
    ) -> dict[str, Tensor]:
        """Mask logits [R,outputs,o,o], edge logits [R,o,o] against masks wanted [R,o,o]."""
        losses = {"loss_mask": mask_loss(logits, positives, wanted, background_channels=self.background_channels)}
        if self.edge_loss is not None:
            losses["loss_edge"] = self.edge_loss(edges, wanted)
        return losses

    def dry_run(self, features: list[Tensor], *, detections: int) -> None:
        """Run the head on placeholder RoI features, the edge map included, as the authors' code does."""
        self.head.with_edges(self.pooler.placeholder(features, detections))


class EdgeMaskScoringBranch(EdgeMaskBranch, MaskScoringBranch):
    """The same with Mask Scoring R-CNN's IoU head: see `MaskScoringBranch`, whose inference it has."""

    def losses(self, features: list[Tensor], positives: Samples, targets: list[dict]) -> dict[str, Tensor]:
        """loss_mask, loss_mask_iou and, with supervision, loss_edge."""
        roi = self.roi_features(features, positives.boxes)
        logits, edges = (one.float() for one in self.head.with_edges(roi))
        wanted = self.mask_targets(positives, targets, size=logits.shape[-1])
        labels = torch.cat(positives.labels)
        chosen = of_class(logits, labels, background_channels=self.background_channels)
        iou = mask_iou_targets(chosen > 0, wanted, visible_shares(positives, targets))
        losses = self.mask_and_edge_losses(logits, edges, positives, wanted)
        return losses | {"loss_mask_iou": mask_iou_loss(self.mask_iou(roi, chosen.sigmoid(), labels), iou)}

    def dry_run(self, features: list[Tensor], *, detections: int) -> None:
        """Run both heads on placeholder RoI features."""
        roi = self.pooler.placeholder(features, detections)
        self.iou_head(roi, self.head.with_edges(roi)[0][:, 0])


def seanet_mask_branch(
    *, num_classes: int, scale: Scale, dialect: str, pooler: nn.Module, components: tuple[str, ...], switches: Switches
) -> MaskBranch:
    """The mask branch of the host on `pooler` ([R,C,14,14]); with the component `attention`, SEANet's head in it.

    Masks have an unused channel for the background, as in the authors' code.
    """
    bundle = find_dialect(dialect)
    attention = "attention" in components
    parts = {
        "pooler": pooler,
        "head": _mask_head(scale.channels, outputs=num_classes + 1, attention=attention, switches=switches),
        "background_channels": True,
        "aligned": bundle.roi_aligned,
        "binary_targets": bundle.binary_mask_targets,
    }
    if attention:
        parts["edge_loss"] = partial(supervise, switches=switches) if "edge" in components else None
    if switches.host == "mask_rcnn":
        return (EdgeMaskBranch if attention else MaskBranch)(**parts)
    parts["iou_head"] = MaskIoUHead(scale.channels, hidden=scale.box_hidden, outputs=num_classes + 1)
    return (EdgeMaskScoringBranch if attention else MaskScoringBranch)(**parts)


def supervise(edges: Tensor, wanted: Tensor, *, switches: Switches) -> Tensor:
    """The loss of edge logits [R,o,o] for masks wanted [R,o,o]."""
    labels = edge_labels(wanted, thickness=switches.edge_thickness, border_counts=switches.edge_border_counts)
    return edge_loss(edges, labels, scope=switches.edge_weight)


def _mask_head(channels: int, *, outputs: int, attention: bool, switches: Switches) -> MaskHead:
    if not attention:
        return MaskHead(channels, outputs=outputs)
    return EdgeAttentionMaskHead(
        channels, outputs=outputs, edge_fuse=switches.edge_fuse, dead_gamma=switches.count_dead_roi_convs
    )
