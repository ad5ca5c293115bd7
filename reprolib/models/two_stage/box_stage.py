"""One stage of box classification and regression: head, predictor, box coder, losses."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import clip_boxes_to_image

from reprolib.models.dialects import find_dialect
from reprolib.models.two_stage.box_coder import BoxCoder
from reprolib.models.two_stage.box_head import BoxPredictor, of_class, two_layer_head
from reprolib.models.two_stage.samples import Samples
from reprolib.params import Scale


class BoxStage(nn.Module):
    """RoI features [R,...] -> class logits [R,1+K] and box deltas [R,boxes,4], both float32.

    head: RoI features -> [R,hidden]. predictor: [R,hidden] -> logits, deltas; boxes is K, 1+K with
    background_channels, or 1 where all classes share one regression. weights: of the box coder, (x, y, w, h).
    beta: of Smooth L1, 0 = L1.
    """

    def __init__(
        self,
        *,
        head: nn.Module,
        predictor: nn.Module,
        beta: float,
        background_channels: bool = False,
        weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0),
    ) -> None:
        super().__init__()
        self.head, self.predictor = head, predictor
        self.beta, self.background_channels = beta, background_channels
        self.box_coder = BoxCoder(weights)

    def forward(self, roi_features: Tensor) -> tuple[Tensor, Tensor]:
        return self.predict(self.head(roi_features))

    def predict(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """The head's vectors [R,hidden] -> class logits [R,1+K], deltas [R,boxes,4]."""
        logits, deltas = self.predictor(vectors)
        return logits.float(), deltas.float()

    def losses(self, logits: Tensor, deltas: Tensor, samples: Samples, targets: list[dict]) -> dict[str, Tensor]:
        """loss_classifier and loss_box_reg, both averaged over all sampled boxes."""
        labels = torch.cat(samples.labels)
        if not len(labels):
            return {"loss_classifier": logits.sum() * 0, "loss_box_reg": deltas.sum() * 0}
        positives = samples.positives()
        instance_boxes = torch.cat(
            [target["boxes"][match] for target, match in zip(targets, positives.matched, strict=True)]
        )
        target_deltas = self.box_coder.encode(instance_boxes.to(deltas), torch.cat(positives.boxes))
        rows = samples.positive_rows()
        deltas = of_class(deltas[rows], labels[rows], background_channels=self.background_channels)
        box_loss = F.smooth_l1_loss(deltas, target_deltas, beta=self.beta, reduction="sum") / len(labels)
        return {"loss_classifier": F.cross_entropy(logits, labels), "loss_box_reg": box_loss}

    def decode(self, boxes: Tensor, deltas: Tensor, labels: Tensor) -> Tensor:
        """boxes [R,4], deltas [R,boxes,4], labels [R] in 1..K -> the boxes [R,4] as these classes, not clipped."""
        deltas = of_class(deltas, labels, background_channels=self.background_channels)
        return self.box_coder.decode(deltas, boxes)

    @torch.no_grad()
    def refine(
        self, boxes: list[Tensor], deltas: Tensor, sizes: list[tuple[int, int]], labels: list[Tensor] | None = None
    ) -> list[Tensor]:
        """Boxes [N,4] per image moved by their deltas and clipped to the images, without gradient.

        labels: [N] per image, the classes whose deltas move them; background keeps its box. Not needed where all
        classes share one regression.
        """
        counts = [len(image_boxes) for image_boxes in boxes]
        if labels is None:
            labels = [torch.ones(count, dtype=torch.long, device=deltas.device) for count in counts]
        moved = []
        for image_boxes, part, label, size in zip(boxes, deltas.split(counts), labels, sizes, strict=True):
            decoded = clip_boxes_to_image(self.decode(image_boxes, part, label.clamp(min=1)), size)
            moved.append(torch.where(label[:, None] > 0, decoded, image_boxes))
        return moved


def plain_box_stage(
    *,
    num_classes: int,
    scale: Scale,
    dialect: str,
    head: nn.Module | None = None,
    background_channels: bool = False,
    class_agnostic: bool = False,
    weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0),
) -> BoxStage:
    """Fast R-CNN's stage: two fully connected layers (or another head of `scale.box_hidden` outputs).

    background_channels: an unused channel for the background; always so in the torchvision dialect.
    """
    bundle = find_dialect(dialect)
    background_channels = background_channels or bundle.background_channels
    if head is None:
        head = two_layer_head(scale.channels, resolution=7, hidden=scale.box_hidden)
    return BoxStage(
        head=head,
        predictor=BoxPredictor(
            scale.box_hidden,
            num_classes=num_classes,
            background_channels=background_channels,
            class_agnostic=class_agnostic,
        ),
        beta=bundle.box_beta,
        background_channels=background_channels,
        weights=weights,
    )
