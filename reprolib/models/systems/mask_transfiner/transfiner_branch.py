"""The mask branch of Mask Transfiner (Ke et al., CVPR 2022): a coarse mask whose incoherent nodes a transformer mends.

Details are those of the published code, which flattens the quadtree of the paper.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reprolib.models.dialects import find_dialect
from reprolib.models.layers.transformer import sine_positions
from reprolib.models.losses import mean_binary_cross_entropy
from reprolib.models.systems.mask_transfiner.incoherence import (
    IncoherenceHead,
    boundaries,
    draw_nodes,
    incoherence_loss,
    incoherence_targets,
    nodes_above,
)
from reprolib.models.systems.mask_transfiner.node_encoder import NodeEncoder
from reprolib.models.two_stage.box_head import of_class
from reprolib.models.two_stage.mask_branch import MaskBranch, attach_masks, mask_loss
from reprolib.models.two_stage.mask_head import MaskHead
from reprolib.models.two_stage.roi_pooler import roi_pooler
from reprolib.models.two_stage.samples import Samples, joined_rows
from reprolib.params import Scale

# Sides of the RoI features. All cells of the coarse map are tokens, of the others only incoherent cells.
COARSE, SIDES = 14, (28, 56, 112)
# Lowest incoherence of a chosen node at each of `SIDES`, in training and in inference. 1e-6 chooses all.
THRESHOLDS = ((0.125, 0.5, 0.5), (1e-6, 0.125, 0.8))
TRAINING_NODES = 150  # per level
LEAST_NODES = 10  # a box with fewer on any level does not train the transformer
# Most refined boxes: in training of a batch, drawn at random in its first images; in inference the best of an image.
LIMITS = (30, 10)


class BoundaryHead(nn.Module):
    """[R,C,m,m] -> logits [R,1,2m,2m] of the boundary: a deconvolution with ReLU and a 1x1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.upsample = nn.ConvTranspose2d(channels, channels, 2, stride=2)
        self.predictor = nn.Conv2d(channels, 1, 1)
        nn.init.kaiming_normal_(self.upsample.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.predictor.weight, std=0.001)
        for layer in (self.upsample, self.predictor):
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.predictor(self.upsample(x).relu_())


class TransfinerBranch(MaskBranch):
    """A `MaskBranch` whose coarse masks [R,28,28] an encoder refines at up to 112 x 112 nodes.

    fine_poolers: of the features at `SIDES`, each one level finer than the last. encoder: see `NodeEncoder`.
    boundary: trains the head's features on boundaries; None leaves it out. thresholds, limits: see `THRESHOLDS` and
    `LIMITS`; a limit of None refines every box. head: a `MaskHead`. Other parameters: see `MaskBranch`.
    """

    def __init__(
        self,
        *,
        head: MaskHead,
        incoherence: nn.Module,
        boundary: nn.Module | None,
        encoder: nn.Module,
        fine_poolers: Sequence[nn.Module],
        thresholds: Sequence[Sequence[float]] = THRESHOLDS,
        limits: tuple[int | None, int | None] = LIMITS,
        **branch,
    ) -> None:
        super().__init__(head=head, **branch)
        self.incoherence, self.boundary, self.encoder = incoherence, boundary, encoder
        self.fine_poolers = nn.ModuleList(fine_poolers)
        self.thresholds, self.limits = thresholds, limits

    def losses(
        self, features: list[Tensor], positives: Samples, targets: list[dict], *, fine: Tensor
    ) -> dict[str, Tensor]:
        """loss_mask of the coarse masks, loss_incoherence, loss_boundary where that is, loss_refinement.

        fine [B,C,h,w]: P2 as the finer levels read it. The coarse masks learn by their own loss alone.
        """
        roi = self.roi_features(features, positives.boxes)
        inner = self.head.features(roi)
        logits = self.head.predict(inner).float()
        masks = self.mask_targets(positives, targets, size=logits.shape[-1])
        incoherence = self.incoherence(roi.detach() + inner).float()[:, 0]
        incoherent = incoherence_targets(positives, targets, size=incoherence.shape[-1], aligned=self.aligned)
        losses = {
            "loss_mask": mask_loss(logits, positives, masks, background_channels=self.background_channels),
            "loss_incoherence": incoherence_loss(incoherence, incoherent),
        }
        if self.boundary is not None:
            edges = self.boundary(inner).float()[:, 0]
            # Half of the code's sum of two equal cross-entropies.
            losses["loss_boundary"] = mean_binary_cross_entropy(edges, boundaries(masks))
        counts = [len(boxes) for boxes in positives.boxes]
        drawn = [
            torch.randperm(count, device=roi.device)[:most]
            for count, most in zip(counts, _within(counts, self.limits[0]), strict=True)
        ]
        some, own = positives.select(drawn), joined_rows(drawn, counts)
        coarse = of_class(logits[own], torch.cat(some.labels), background_channels=self.background_channels)
        nodes, rows = self.training_nodes(incoherence[own].detach().sigmoid())
        maps = [roi[own], *self.fine_features(features, fine, some.boxes)][: len(nodes)]
        tokens = self.tokens([part[rows] for part in maps], coarse.detach().sigmoid()[rows], nodes)
        labels = [self.mask_targets(some, targets, size=part.shape[-1])[rows].flatten(1) for part in maps]
        labels = torch.cat([part.gather(1, node) for part, node in zip(labels, nodes, strict=True)], dim=1)
        refined = self.encoder(*tokens)
        losses["loss_refinement"] = (refined.sigmoid() - labels).abs().mean() if len(rows) else refined.sum() * 0
        return losses

    def training_nodes(self, incoherence: Tensor) -> tuple[list[Tensor], Tensor]:
        """Probabilities [R,28,28] -> numbers [r,196] and three times [r,150] of nodes; the r boxes with enough.

        Where no box has, the coarse nodes [R,196] alone of all of them.
        """
        chosen = [
            nodes_above(incoherence, side=side, threshold=threshold)
            for side, threshold in zip(SIDES, self.thresholds[0], strict=True)
        ]
        enough = torch.stack([part.sum(1) >= LEAST_NODES for part in chosen]).all(0)
        rows = torch.where(enough)[0]
        if not len(rows):
            every = torch.arange(len(incoherence), device=rows.device)
            return [_all_nodes(COARSE, rows.device).expand(len(every), -1)], every
        drawn = [draw_nodes(part[rows], TRAINING_NODES) for part in chosen]
        return [_all_nodes(COARSE, rows.device).expand(len(rows), -1), *drawn], rows

    def fine_features(self, features: list[Tensor], fine: Tensor, boxes: list[Tensor]) -> list[Tensor]:
        """RoI features [R,C,s,s] at `SIDES`."""
        levels = [fine, *features[1:]]
        return [pooler(levels, boxes) for pooler in self.fine_poolers]

    def tokens(self, maps: list[Tensor], coarse: Tensor, nodes: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """What the encoder reads of nodes: features [r,T,C], coarse probabilities [r,T], positions [r,T,C].

        maps [r,C,s,s] and nodes [r,N] at sides 14, 28, 56, 112; coarse [r,28,28].
        """
        features, probabilities, positions = [], [], []
        for part, node in zip(maps, nodes, strict=True):
            channels, side = part.shape[1], part.shape[-1]
            features.append(part.flatten(2).gather(2, node[:, None].expand(-1, channels, -1)).transpose(1, 2))
            probabilities.append(_resized(coarse, side).flatten(1).gather(1, node))
            positions.append(sine_positions((side, side), channels, device=part.device)[node])
        return torch.cat(features, dim=1), torch.cat(probabilities, dim=1), torch.cat(positions, dim=1)

    def inference(
        self, features: list[Tensor], detections: list[dict[str, Tensor]], *, fine: Tensor
    ) -> list[dict[str, Tensor]]:
        """The detections with `masks` [N,112,112], probabilities of their class; beyond the limit coarse ones."""
        labels = torch.cat([image["labels"] for image in detections])
        if not len(labels):
            return attach_masks(detections, features[0].new_zeros((0, 1, 1)))
        boxes = [image["boxes"] for image in detections]
        roi = self.roi_features(features, boxes)
        inner = self.head.features(roi)
        coarse = of_class(self.head.predict(inner).float(), labels, background_channels=self.background_channels)
        coarse = coarse.sigmoid()
        masks = _resized(coarse, SIDES[-1])
        best = [image_boxes[: self.limits[1]] for image_boxes in boxes]
        rows = joined_rows(
            [torch.arange(len(image_boxes), device=labels.device) for image_boxes in best],
            [len(image_boxes) for image_boxes in boxes],
        )
        incoherence = self.incoherence((roi + inner)[rows]).float().sigmoid()[:, 0]
        maps = [roi[rows], *self.fine_features(features, fine, best)]
        for number, row in enumerate(rows.tolist()):
            box = slice(number, number + 1)
            masks[row] = self.refined([part[box] for part in maps], coarse[row][None], incoherence[box])
        return attach_masks(detections, masks)

    def refined(self, maps: list[Tensor], coarse: Tensor, incoherence: Tensor) -> Tensor:
        """One box's mask [112,112]; maps [1,C,s,s] at sides 14, 28, 56, 112, coarse and incoherence [1,28,28].

        From level to level the mask is doubled (corners aligned) and the chosen nodes are overwritten.
        """
        nodes = [_all_nodes(COARSE, coarse.device)[None]]
        for side, threshold in zip(SIDES, self.thresholds[1], strict=True):
            nodes.append(torch.where(nodes_above(incoherence, side=side, threshold=threshold)[0])[0][None])
        values = self.encoder(*self.tokens(maps, coarse, nodes)).sigmoid()
        values = values.split([node.shape[1] for node in nodes], dim=1)
        mask = coarse
        for side, node, value in zip(SIDES, nodes[1:], values[1:], strict=True):
            if side > mask.shape[-1]:
                mask = F.interpolate(mask[:, None], size=(side, side), mode="bilinear", align_corners=True)[:, 0]
            mask = mask.flatten(1).scatter(1, node, value).unflatten(1, (side, side))
        return mask[0]

    def dry_run(self, features: list[Tensor], *, detections: int) -> None:
        """Run the learned parts on placeholders; of the finer two levels as many nodes as in training."""
        roi = self.pooler.placeholder(features, detections)
        inner = self.head.features(roi)
        self.head.predict(inner)
        (best,) = _within([detections], self.limits[1])
        self.incoherence(inner[:best])
        count = COARSE**2 + SIDES[0] ** 2 + 2 * TRAINING_NODES
        tokens = features[0].new_zeros((best, count, features[0].shape[1]))
        self.encoder(tokens, tokens[..., 0], tokens)


def _within(counts: Sequence[int], limit: int | None) -> list[int]:
    """How many of each image's boxes are among the first `limit` of the batch."""
    kept = []
    for count in counts:
        kept.append(count if limit is None else min(count, limit - sum(kept)))
    return kept


def _all_nodes(side: int, device: torch.device) -> Tensor:
    return torch.arange(side * side, device=device)


def _resized(masks: Tensor, side: int) -> Tensor:
    """masks [R,h,w] -> [R,side,side], bilinear."""
    if masks.shape[-1] == side:
        return masks
    return F.interpolate(masks[:, None], size=(side, side), mode="bilinear", align_corners=False)[:, 0]


def transfiner_branch(
    *,
    num_classes: int,
    scale: Scale,
    dialect: str,
    boundary: bool = True,
    thresholds: Sequence[Sequence[float]] = THRESHOLDS,
    limits: tuple[int | None, int | None] = LIMITS,
) -> TransfinerBranch:
    """The branch as published. boundary, thresholds, limits: see `TransfinerBranch`."""
    bundle = find_dialect(dialect)
    strides = (4, 8, 16, 32)
    return TransfinerBranch(
        pooler=roi_pooler(COARSE, dialect=dialect),
        head=MaskHead(scale.channels, outputs=num_classes + bundle.background_channels),
        incoherence=IncoherenceHead(scale.channels),
        boundary=BoundaryHead(scale.channels) if boundary else None,
        encoder=NodeEncoder(scale.channels),
        fine_poolers=[
            # A box of level l reads level l - 1, l - 2, l - 3, but none finer than P2.
            roi_pooler(side, dialect=dialect, strides=strides[:-finer], finest_scale=14 * strides[0] * 2**finer)
            for finer, side in enumerate(SIDES, start=1)
        ],
        thresholds=thresholds,
        limits=limits,
        background_channels=bundle.background_channels,
        aligned=bundle.roi_aligned,
        binary_targets=bundle.binary_mask_targets,
    )
