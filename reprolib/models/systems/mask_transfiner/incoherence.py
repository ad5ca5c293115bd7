"""Where a coarse mask loses detail (Mask Transfiner, Ke et al., CVPR 2022, section 3.1): head, targets, nodes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reprolib.models.input_transform import scale_boxes
from reprolib.models.losses import dice_loss, mean_binary_cross_entropy, mean_loss
from reprolib.models.mask_resize import TOGETHER
from reprolib.models.two_stage.mask_targets import cut_masks, in_chunks
from reprolib.models.two_stage.samples import Samples

LOST = 0.01  # a pixel lost detail if halving and doubling its mask changes it by this or more
COVERED = 0.05  # a cell is incoherent if this share of it or more lost detail


class IncoherenceHead(nn.Module):
    """[R,C,m,m] -> logits [R,1,2m,2m]: four 3x3 convolutions, the last to half the width, a deconvolution, a 1x1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        thin = channels // 2
        widths = [(channels, channels)] * 3 + [(channels, thin)]
        self.convs = nn.ModuleList([nn.Conv2d(old, new, 3, padding=1) for old, new in widths])
        self.upsample = nn.ConvTranspose2d(thin, thin, 2, stride=2)
        self.predictor = nn.Conv2d(thin, 1, 1)
        for layer in (*self.convs, self.upsample):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.predictor.weight, std=0.001)
        nn.init.zeros_(self.predictor.bias)

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = conv(x).relu_()
        return self.predictor(self.upsample(x))


def lost_detail(masks: Tensor) -> Tensor:
    """masks [G,H,W] of 0 and 1 -> bool [G,ceil(H/2),ceil(W/2)]: pixels that a mask of half the size gets wrong."""
    whole = masks[:, None].float()
    half = [(side + 1) // 2 for side in masks.shape[-2:]]
    resize = {"mode": "bilinear", "align_corners": False}
    again = F.interpolate(F.interpolate(whole, size=half, **resize), size=masks.shape[-2:], **resize)
    return F.interpolate((whole - again).abs(), size=half, **resize)[:, 0] >= LOST


@torch.no_grad()
def incoherence_targets(positives: Samples, targets: list[dict], *, size: int, aligned: bool) -> Tensor:
    """[R,size,size] of 0 and 1: cells of each positive box where its instance's mask loses detail at half its size.

    The masks are those of the original images. aligned: of the RoIAlign that cuts the cells out.
    """
    incoherent = []
    for boxes, matched, target in zip(positives.boxes, positives.matched, targets, strict=True):
        boxes = scale_boxes(boxes, *target["to_original"])
        cells = boxes.new_zeros((len(boxes), size, size))
        for some, index, rows in in_chunks(target["masks"], matched, pixels=TOGETHER // 4):  # four copies at a time
            lost = lost_detail(some)
            (height, width), (lost_height, lost_width) = some.shape[-2:], lost.shape[-2:]
            halved = scale_boxes(boxes[rows], lost_width / width, lost_height / height)
            cells[rows] = cut_masks(lost, halved, index, size=size, aligned=aligned, binary=False)
        incoherent.append((cells >= COVERED).to(cells))
    return torch.cat(incoherent)


def incoherence_loss(logits: Tensor, incoherent: Tensor) -> Tensor:
    """Half the sum of mean binary cross-entropy and mean dice loss (smoothed by 1), both [R,h,w]; 0 without boxes."""
    dice = mean_loss(dice_loss(logits.sigmoid(), incoherent, smooth=1))
    return 0.5 * (dice + mean_binary_cross_entropy(logits, incoherent))


def boundaries(masks: Tensor) -> Tensor:
    """masks [R,h,w] of 0 and 1 -> the same of the pixels that differ from one of their 4 neighbours: a band of two."""

    def dilated(maps: Tensor) -> Tensor:
        return torch.maximum(F.max_pool2d(maps, (1, 3), 1, (0, 1)), F.max_pool2d(maps, (3, 1), 1, (1, 0)))

    maps = masks[:, None]  # pooling takes an empty batch of [R,1,h,w], none of [R,h,w]
    return (dilated(maps) + dilated(-maps))[:, 0]  # dilation less erosion


def nodes_above(incoherence: Tensor, *, side: int, threshold: float) -> Tensor:
    """Probabilities [R,s,s] -> bool [R,side*side]: nodes of a finer level whose cell reaches the threshold.

    One map serves all levels, so with rising thresholds a node's ancestors in the quadtree are always chosen too.
    """
    times = side // incoherence.shape[-1]
    fine = incoherence.repeat_interleave(times, dim=1).repeat_interleave(times, dim=2)
    return (fine >= threshold).flatten(1)


def draw_nodes(chosen: Tensor, count: int) -> Tensor:
    """chosen bool [R,N], one or more in each row -> [R,count] numbers of chosen nodes at random.

    All different, or where fewer are chosen, all of these in turn.
    """
    order = torch.rand(chosen.shape, device=chosen.device).masked_fill(~chosen, -1).argsort(dim=1, descending=True)
    turn = torch.arange(count, device=chosen.device) % chosen.sum(1, keepdim=True)
    return order.gather(1, turn)
