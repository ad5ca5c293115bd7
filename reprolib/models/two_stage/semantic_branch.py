"""The semantic segmentation branch of HTC (Chen et al., CVPR 2019) and SCNet (Vu et al., AAAI 2021)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reprolib.models.switch_checks import check_choice
from reprolib.models.two_stage.residual_mask_head import ResidualPair
from reprolib.models.two_stage.roi_pooler import roi_pooler
from reprolib.params import Scale

SOURCES = ("off", "stuff", "from_instances")
STUFF_CLASSES = 183  # of COCO's stuff and thing maps
IGNORE = 255  # label of cells without truth
LEVELS, TARGET_LEVEL, STRIDE = 5, 1, 8  # P2..P6 are brought to the size of P3


class SemanticBranch(nn.Module):
    """P2..P6 [B,C,h,w] -> logits [B,classes,h,w] in float32 and embedding [B,C,h,w], both at stride 8.

    Every level is resized to P3 (bilinear, corners aligned), goes through its own 1x1 convolution with ReLU and is
    summed; four 3x3 convolutions with ReLU (HTC) or, where `residual`, two residual pairs (SCNet) follow.
    source: where the targets of `loss` come from, `stuff` or `from_instances`, see `semantic_targets`.
    loss_weight: 0.2 as published. dialect: of the RoIAlign that reads the embedding.
    """

    def __init__(
        self,
        channels: int,
        *,
        classes: int,
        source: str,
        dialect: str,
        residual: bool = False,
        loss_weight: float = 0.2,
    ) -> None:
        super().__init__()
        self.source, self.loss_weight = source, loss_weight
        self.laterals = nn.ModuleList([_conv(channels, 1) for _ in range(LEVELS)])
        if residual:
            self.convs = nn.Sequential(ResidualPair(channels), ResidualPair(channels))
        else:
            self.convs = nn.Sequential(
                *(layer for _ in range(4) for layer in (_conv(channels, 3), nn.ReLU(inplace=True)))
            )
        self.embedding = _conv(channels, 1)
        self.predictor = nn.Conv2d(channels, classes, 1)
        # Kaiming's fan-out, as in the convolutions above, would start two classes at logits in the tens.
        nn.init.normal_(self.predictor.weight, std=0.01)
        nn.init.zeros_(self.predictor.bias)
        self.pooler = roi_pooler(14, dialect=dialect, strides=(STRIDE,))

    def forward(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        size = features[TARGET_LEVEL].shape[-2:]
        fused = torch.zeros_like(features[TARGET_LEVEL])
        for lateral, feature in zip(self.laterals, features, strict=True):
            if feature.shape[-2:] != size:
                feature = F.interpolate(feature, size=size, mode="bilinear", align_corners=True)
            fused = fused + lateral(feature).relu_()
        fused = self.convs(fused)
        return self.predictor(fused).float(), self.embedding(fused).relu_()

    def mask_features(self, embedding: Tensor, boxes: list[Tensor]) -> Tensor:
        """embedding [B,C,h,w] and boxes [N,4] px per image -> [sum of N,C,14,14], to add to the mask heads' input."""
        return self.pooler([embedding], boxes)

    def box_features(self, embedding: Tensor, boxes: list[Tensor]) -> Tensor:
        """The same, averaged to [sum of N,C,7,7], to add to the box heads' input."""
        return F.avg_pool2d(self.mask_features(embedding, boxes), 2)

    def loss(self, logits: Tensor, targets: list[dict], image_sizes: list[tuple[int, int]]) -> Tensor:
        """Weighted softmax cross-entropy of logits [B,classes,h,w], averaged over the cells that have a label.

        Raises what `semantic_targets` raises, and ValueError for labels that the branch has no output for.
        """
        classes = logits.shape[1]
        labels = semantic_targets(targets, image_sizes, size=logits.shape[-2:], source=self.source)
        labelled = labels != IGNORE
        if (labelled & (labels >= classes)).any():
            # Checked here: on a GPU, cross-entropy would end the process by an assertion that names no label.
            raise ValueError(
                f"semantic maps must hold labels 0..{classes - 1} or {IGNORE} (no label), but one holds"
                f" {int(labels[labelled].max())}; renumber the maps"
            )
        # As rows: of the two kernels on GPUs, the one for maps has no deterministic form.
        rows = logits.movedim(1, -1).reshape(-1, classes)
        total = F.cross_entropy(rows, labels.flatten(), ignore_index=IGNORE, reduction="sum")
        return self.loss_weight * total / labelled.sum().clamp(min=1)


@torch.no_grad()
def semantic_targets(
    targets: list[dict], image_sizes: list[tuple[int, int]], *, size: tuple[int, int], source: str
) -> Tensor:
    """Labels [B,*size] of a stride-8 map over the padded batch; 255 where a cell lies outside its image.

    A cell reads the nearest original pixel of its first batch pixel, (8y, 8x), as resizing the map with the image
    and then by 1/8 would (both nearest). image_sizes: (height, width) inside the batch.
    source: `stuff` takes each target's `semantic` [H,W], integer labels of the original image's size;
    `from_instances` paints `masks` [N,H,W] with their `labels`, background 0.
    Raises ValueError for a target without a `semantic` map, or with one of another size than its masks.
    """
    device = targets[0]["labels"].device
    label_maps = torch.full((len(targets), *size), IGNORE, dtype=torch.long, device=device)
    for index, (target, (height, width)) in enumerate(zip(targets, image_sizes, strict=True)):
        original = target["masks"].shape[-2:]
        if source == "stuff":
            _check_map(target, index, original)
        rows, columns = _sampled(height, original[0], device), _sampled(width, original[1], device)
        if source == "stuff":
            labels = target["semantic"][rows[:, None], columns].long()
        else:
            labels = paint(target["masks"][:, rows[:, None], columns], target["labels"])
        label_maps[index, : len(rows), : len(columns)] = labels
    return label_maps


def paint(masks: Tensor, labels: Tensor) -> Tensor:
    """masks [N,h,w] of 0 and 1, labels [N] -> label map [h,w], 0 where no mask is.

    Where masks overlap, the one with the fewest cells is on top: a small thing on a large one would otherwise
    vanish, while the large one keeps most of itself either way. Of equally large ones it is the later.
    """
    order = masks.flatten(1).sum(1).argsort(descending=True, stable=True)
    height = torch.arange(1, 1 + len(masks), device=masks.device)[:, None, None]
    background = torch.zeros((1, *masks.shape[1:]), dtype=torch.long, device=masks.device)
    top = torch.cat([background, masks[order] * height]).amax(0)
    return torch.cat([labels.new_zeros(1), labels[order]])[top]


def build_semantic(
    source: str, *, num_classes: int, scale: Scale, dialect: str, residual: bool = False
) -> SemanticBranch | None:
    """The branch that learns from `source`; None where that is `off`. Raises ValueError for another source."""
    check_choice("semantic_source", source, SOURCES)
    if source == "off":
        return None
    classes = STUFF_CLASSES if source == "stuff" else 1 + num_classes
    return SemanticBranch(scale.channels, classes=classes, source=source, dialect=dialect, residual=residual)


def _sampled(length: int, original: int, device: torch.device) -> Tensor:
    """The original pixels, one axis, that the cells read whose first pixel lies inside the image."""
    return torch.arange(0, length, STRIDE, device=device) * original // length  # in whole numbers: no rounding


def _check_map(target: dict, index: int, size: tuple[int, int]) -> None:
    name = f"target {index} (image_id {target.get('image_id', '?')})"
    if "semantic" not in target:
        raise ValueError(
            f"{name} has no 'semantic' map: semantic_source 'stuff' needs stuff maps;"
            " set semantic_source to 'off' or 'from_instances', or give every target its label map [H,W]"
        )
    map_size = tuple(target["semantic"].shape)
    if map_size != tuple(size):
        raise ValueError(f"{name}: its semantic map {list(map_size)} must have the size of its image, {list(size)}")


def _conv(channels: int, kernel: int) -> nn.Conv2d:
    conv = nn.Conv2d(channels, channels, kernel, padding=kernel // 2)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    nn.init.zeros_(conv.bias)
    return conv
