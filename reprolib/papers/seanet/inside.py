"""What SEANet computes inside: shapes block by block, the box head cell by cell, edges, attention and scores. For the
paper's notebook. Models of the views have all three components; boxes are xyxy in pixels of the image given."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import box_iou

from reprolib.models.drawing.shapes import block_rows, shapes_seen
from reprolib.models.input_transform import Batch, scale_boxes
from reprolib.models.two_stage.box_head import of_class
from reprolib.models.two_stage.mask_targets import cut_masks
from reprolib.papers.seanet.box_head import BoxOutputs
from reprolib.papers.seanet.box_losses import box_loss
from reprolib.papers.seanet.box_stage import FullyConvolutionalBoxStage, select
from reprolib.papers.seanet.edges import edge_labels, edge_weights
from reprolib.papers.seanet.locations import decode
from reprolib.papers.seanet.mask_attention import EdgeAttentionMaskHead
from reprolib.papers.seanet.roi_fusion import AllLevelConcat
from reprolib.papers.seanet.switches import resolve_switches

COMMON = ("C2..C5: backbone", "P2..P6: FPN", "RPN")  # as in Mask R-CNN


def blocks(model: nn.Module) -> dict[str, nn.Module]:
    """The blocks of a built detector by name, in the order of the data flow; absent ones left out."""
    heads = model.roi_heads
    named = dict(zip(COMMON, (model.backbone, model.neck, model.rpn.head), strict=True))
    named |= _fusion("box", heads.box_pooler)
    stage, mask = heads.box_stage, heads.mask_branch.head
    if isinstance(stage, FullyConvolutionalBoxStage):
        head = stage.head
        named |= {"class tower": head.class_tower, "class scores": head.class_output}
        named |= {"box tower": head.box_tower, "distances": head.box_output}
        named |= {"B-IoU tower": head.iou_tower, "IoU": head.iou_output}
    else:
        named |= {"box head, fully connected": stage.head, "classes and deltas": stage.predictor}
    named |= _fusion("mask", heads.mask_branch.pooler)
    named["mask: 4 convolutions"] = mask.convs
    if isinstance(mask, EdgeAttentionMaskHead):
        channels, position = mask.channel_attention, mask.position_attention
        named |= {"channel attention: 5×5, 5×5": channels.convs, "channel attention: FC": channels.squeeze}
        named |= {"channel attention: gates": channels.excite, "mask: concat, 1×1, 1×1": mask.join}
        named["mask: deconvolution"] = mask.upsample
        named |= {"position attention": position, "edge: 4 convolutions": mask.edge_convs}
        named |= {"edge: deconvolution": mask.edge_upsample, "edge map": mask.edge_predictor}
        named["mask + edge, 1×1"] = mask.fuse
    else:
        named["mask: deconvolution"] = mask.upsample
    named["masks"] = mask.predictor
    if hasattr(heads.mask_branch, "iou_head"):
        named["mask IoU head"] = heads.mask_branch.iou_head
    return named


def _fusion(name: str, pooler: nn.Module) -> dict[str, nn.Module]:
    return {f"{name} RoI: fusion of levels": pooler.reduce} if isinstance(pooler, AllLevelConcat) else {}


def block_shapes(model: nn.Module, *, height: int, width: int, detections: int = 4) -> list[dict[str, object]]:
    """Input, output and parameters of every block of the RoI heads for one image of that size."""
    named = {name: module for name, module in blocks(model).items() if name not in COMMON}
    seen = shapes_seen(model, named, height=height, width=width, proposals=10, detections=detections)
    return block_rows(named, seen)


class BoxView(NamedTuple):
    """The box head's answer for one proposal at its m by m cells.

    scores [K,m,m]: of the classes. iou [m,m]: what they are multiplied by. points [m,m,2], boxes [m,m,4]: in the
    image, not clipped. by_class, by_final: (row, column) of the cell that is chosen by class score alone, and by
    class score times IoU.
    """

    proposal: Tensor
    scores: Tensor
    iou: Tensor
    points: Tensor
    boxes: Tensor
    by_class: tuple[int, int]
    by_final: tuple[int, int]


@torch.no_grad()
def box_view(model: nn.Module, image: Tensor, box: Tensor) -> BoxView:
    """The box head on the proposal that overlaps `box` [4] best, of an image [3,H,W] in 0..1."""
    batch, features = _features(model, image)
    factors, stage = batch.to_original(0), model.roi_heads.box_stage
    (proposals,), _ = model.rpn(batch, features)
    best = box_iou(scale_boxes(proposals, *factors), box[None].to(proposals)).argmax()
    roi = proposals[best][None]
    outputs = stage(model.roi_heads.box_pooler(features, [roi]))
    classes, iou, points = outputs.logits.sigmoid(), stage.iou_scores(outputs), stage.locations(roi, outputs)
    cells = outputs.exponents[0]
    boxes = decode(points[0], stage.distances(cells, roi.expand(len(cells), 4)))
    side = round(len(cells) ** 0.5)
    chosen = [select(classes, factor, class_first=False)[0].item() for factor in (torch.ones_like(iou), iou)]
    return BoxView(
        proposal=scale_boxes(roi, *factors)[0],
        scores=classes[0].T.unflatten(1, (side, side)),
        iou=iou[0].unflatten(0, (side, side)),
        points=(points[0] * points.new_tensor(factors)).unflatten(0, (side, side)),
        boxes=scale_boxes(boxes, *factors).unflatten(0, (side, side)),
        by_class=divmod(chosen[0], side),
        by_final=divmod(chosen[1], side),
    )


class MaskView(NamedTuple):
    """The mask head's answer for boxes: gates [R,C], attention [R,m*m,m*m] (row i: what position i takes from each),
    probabilities edges [R,2m,2m] and masks [R,2m,2m]."""

    gates: Tensor
    attention: Tensor
    edges: Tensor
    masks: Tensor


@torch.no_grad()
def mask_view(model: nn.Module, image: Tensor, boxes: Tensor, labels: Tensor) -> MaskView:
    """The mask head on boxes [R,4] of classes [R] in 1..K, of an image [3,H,W] in 0..1."""
    batch, features = _features(model, image)
    x, y = batch.to_original(0)
    branch = model.roi_heads.mask_branch
    roi = branch.roi_features(features, [scale_boxes(boxes.to(batch.tensors), 1 / x, 1 / y)])
    logits, edges = branch.head.with_edges(roi)
    return MaskView(
        gates=branch.head.channel_attention.weights(roi),
        attention=branch.head.position_attention.attention(roi),
        edges=edges.sigmoid(),
        masks=of_class(logits, labels, background_channels=branch.background_channels).sigmoid(),
    )


class EdgeTargets(NamedTuple):
    """What boxes should see of their instances, all [R,size,size]: masks and edges of 0 and 1, the loss's weights."""

    masks: Tensor
    edges: Tensor
    weights: Tensor


def edge_targets(
    masks: Tensor, boxes: Tensor, *, size: int = 28, thickness: int = 1, border_counts: bool = True, scope: str
) -> EdgeTargets:
    """Of instances masks [R,H,W] in boxes [R,4]; scope and the others: see `edge_weights` and `edge_labels`."""
    rows = torch.arange(len(boxes))
    wanted = cut_masks(masks, boxes.float(), rows, size=size, aligned=True, binary=True)
    edges = edge_labels(wanted, thickness=thickness, border_counts=border_counts)
    return EdgeTargets(wanted, edges, edge_weights(edges, scope=scope))


def on_image(maps: Tensor, boxes: Tensor, *, height: int, width: int) -> Tensor:
    """Maps [R,o,o] in 0..1 pasted into their boxes [R,4], R > 0, the largest where they overlap: [height,width]."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    start, sides = boxes[:, None, None, :2], (boxes[:, 2:] - boxes[:, :2])[:, None, None]
    places = 2 * (torch.stack([x, y], dim=-1) - start) / sides - 1  # -1..1 over the box
    pasted = F.grid_sample(maps[:, None], places, padding_mode="border", align_corners=False)[:, 0]
    return (pasted * (places.abs().amax(-1) <= 1)).amax(0)


@torch.no_grad()
def found_boxes(model: nn.Module, image: Tensor, *, use_iou_score: bool = True) -> dict[str, Tensor]:
    """Detections without masks in an image [3,H,W] in 0..1: boxes [N,4], labels [N], scores [N], best first.

    Without use_iou_score, SEANet's boxes are chosen and ranked by class score alone, as in the paper's figure 5b. Any
    other box head of one stage does as always.
    """
    batch, features = _features(model, image)
    proposals, _ = model.rpn(batch, features)
    with ExitStack() as stack:
        stage = model.roi_heads.box_stage
        if isinstance(stage, FullyConvolutionalBoxStage):
            stack.callback(setattr, stage, "switches", stage.switches)
            stage.switches = replace(stage.switches, use_iou_score=use_iou_score)
        (found,) = model.roi_heads.box_inference(features, None, proposals, batch.image_sizes)
    return found | {"boxes": scale_boxes(found["boxes"], *batch.to_original(0))}


def scores_and_ious(found: Sequence[dict], targets: Sequence[dict]) -> tuple[Tensor, Tensor]:
    """Of all detections: scores [N], and the IoU [N] of their boxes with the nearest instance of their class."""
    scores, ious = [torch.zeros(0)], [torch.zeros(0)]
    for one, target in zip(found, targets, strict=True):
        overlaps = box_iou(one["boxes"], target["boxes"].to(one["boxes"]))
        overlaps = overlaps * (one["labels"][:, None] == target["labels"])
        scores.append(one["scores"])
        ious.append(overlaps.amax(1) if overlaps.shape[1] else torch.zeros_like(one["scores"]))
    return torch.cat(scores), torch.cat(ious)


class Difference(NamedTuple):
    """A function of one variable as paper and code have it: all [N]."""

    x: Tensor
    paper: Tensor
    code: Tensor


def box_loss_difference(giou: Tensor) -> Difference:
    """The box loss over GIoU [N] in -1..1, of two squares of which one is moved away."""
    square = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    shift = ((1 - giou) / (1 + giou))[:, None] * torch.tensor([1.0, 0.0, 1.0, 0.0])
    pairs = [(square + one, square) for one in shift]
    return Difference(
        giou, *(torch.stack([box_loss(*pair, clamp=clamp) for pair in pairs]) for clamp in ("half", "giou"))
    )


def iou_factor_difference(iou: Tensor) -> Difference:
    """What class scores are multiplied by over the IoU [N] that the branch has learned to say."""
    learned = {"sigmoid_both": iou.logit(), "code": iou}
    factors = []
    for activation, output in learned.items():
        switches = resolve_switches((), pretrained=True, iou_act=activation)
        stage = FullyConvolutionalBoxStage(head=nn.Identity(), switches=switches)
        factors.append(stage.iou_scores(BoxOutputs(logits=output, exponents=output, iou=output)))
    return Difference(iou, *factors)


def edge_weight_difference(edges: Sequence[int], *, pixels: int = 28 * 28) -> Difference:
    """The edge loss's weight of edge pixels over their share of all, from their numbers."""
    counts = torch.tensor(edges)
    labels = (torch.arange(pixels) < counts[:, None]).float()[:, None]
    weights = [edge_weights(labels, scope=scope).amax((1, 2)) for scope in ("formula_roi", "const5")]
    return Difference(counts / pixels, *weights)


def _features(model: nn.Module, image: Tensor) -> tuple[Batch, list[Tensor]]:
    """One image [3,H,W] in 0..1 as the network takes it, and its pyramid; the model is put into evaluation mode."""
    model.eval()
    batch, _ = model.transform([image], None)
    return batch, model.neck(model.backbone(batch.tensors))
