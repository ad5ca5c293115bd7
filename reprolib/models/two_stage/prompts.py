"""Boxes given by hand: what is kept of an image that was encoded for them, and which boxes are refused."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from reprolib.models.input_transform import Batch

MOST_BOXES = 1000  # of one call: their masks alone are a gigabyte on a 1000 x 1000 image
# A detected box that is scaled back to the image may cross the image's border by a rounding error.
BORDER = 0.01  # px


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """What `segment` reads of an image; computed once, whatever boxes come.

    features: the pyramid P2.. of the batch. context: what the RoI heads share between boxes, see their `prepare`.
    """

    batch: Batch
    features: list[Tensor]
    context: object

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the image given."""
        return self.batch.original_sizes[0]


def check_boxes(boxes: object, size: tuple[int, int], *, device: torch.device) -> Tensor:
    """boxes [N,4] xyxy in pixels of an image of `size` (H, W), as anything a tensor can be made of -> float32.

    Raises ValueError that names the first bad box by number, from 0: not finite, inverted, without area, outside.
    """
    try:
        boxes = torch.as_tensor(boxes, dtype=torch.float32, device=device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"boxes must be numbers [N,4], x0 y0 x1 y1 in pixels ({error})") from None
    if boxes.numel() == 0 and boxes.shape in ((0,), (0, 4)):
        return boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes must be [N,4], x0 y0 x1 y1 in pixels, not {list(boxes.shape)}")
    if len(boxes) > MOST_BOXES:
        raise ValueError(f"{len(boxes)} boxes are too many for one call; give at most {MOST_BOXES} at a time")
    for number, box in enumerate(boxes.tolist()):
        complaint = _complaint(box, size)
        if complaint:
            raise ValueError(f"box {number} ({', '.join(f'{value:g}' for value in box)}) {complaint}")
    return boxes


def _complaint(box: list[float], size: tuple[int, int]) -> str:
    x0, y0, x1, y1 = box
    height, width = size
    if not all(abs(value) < float("inf") for value in box):  # NaN compares false too
        return "has a coordinate that is no finite number"
    if x1 < x0 or y1 < y0:
        return "is inverted: boxes are x0 y0 x1 y1 with x0 < x1 and y0 < y1"
    if x1 == x0 or y1 == y0:
        return "has no area: x0 < x1 and y0 < y1 are needed"
    if x0 < -BORDER or y0 < -BORDER or x1 > width + BORDER or y1 > height + BORDER:
        return f"reaches outside the image, which is {width} px wide and {height} px high"
    return ""


def label_boxes(scores: Tensor, labels: object | None) -> tuple[Tensor, Tensor]:
    """Labels [N] in 1..K and their scores [N] of boxes with class scores [N,1+K], background first.

    labels: given ones; without them each box is of its best class, the background aside. Raises ValueError for labels
    of another count, or outside 1..K.
    """
    if labels is None:
        best, label = scores[:, 1:].max(1)
        return label + 1, best
    count, classes = len(scores), scores.shape[1] - 1
    box_labels = torch.as_tensor(labels, device=scores.device)
    if box_labels.shape != (count,) or (count and (box_labels.is_floating_point() or box_labels.dtype == torch.bool)):
        raise ValueError(
            f"labels must be {count} whole numbers, one per box, not {box_labels.dtype} {list(box_labels.shape)}"
        )
    box_labels = box_labels.long()
    wrong = torch.where((box_labels < 1) | (box_labels > classes))[0]
    if len(wrong):
        number = int(wrong[0])
        raise ValueError(f"box {number} has label {int(box_labels[number])}; this model's labels are 1 to {classes}")
    return box_labels, scores[torch.arange(count, device=scores.device), box_labels]
