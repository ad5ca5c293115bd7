"""Which boxes prompt in training: proposals, and in place of the instances' own boxes some of them, moved a little."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import box_iou, clip_boxes_to_image

from reprolib.models.on_device import numbers_like
from reprolib.models.two_stage.samples import RoISampler
from reprolib.papers.insight_any_instance.switches import Switches

SHORTEST = 1.0  # px, side of a moved box
FAITHFUL = 0.5  # IoU with its instance that a moved box keeps


class PromptSampler(RoISampler):
    """A sampler that adds noisy boxes of some instances to the proposals, where others add every instance's own.

    What is added stands in for a person's prompt and is labelled as every proposal is. Draws come from torch's global
    generator.
    """

    def __init__(self, *, iou: float, batch: int, switches: Switches) -> None:
        super().__init__(iou=iou, batch=batch)
        self.switches = switches

    def added(self, target: dict) -> Tensor:
        boxes = target["boxes"]
        chosen = boxes[choose(len(boxes), self.switches.gt_prompt_frac, device=boxes.device)]
        (height, width), (x, y) = target["masks"].shape[-2:], target["to_original"]
        moved = move(chosen, self.switches.gt_prompt_noise, size=(height / y, width / x))
        return torch.cat([moved, boxes]) if self.switches.append_clean_gt else moved


def choose(count: int, fraction: float, *, device: torch.device) -> Tensor:
    """Whether each of `count` instances is chosen: [count] bool, each with chance `fraction`, never none of them."""
    chosen = torch.rand(count, device=device) < fraction
    if count and not chosen.any():
        chosen[torch.randint(count, (1,), device=device)] = True
    return chosen


def move(boxes: Tensor, noise: float, *, size: tuple[float, float]) -> Tensor:
    """boxes [N,4] xyxy px -> those that are still about themselves after each side moved by up to noise x its length.

    size: (height, width) of the image, which they do not leave.
    """
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    moved = clip_boxes_to_image(boxes + sides * noise * (2 * torch.rand_like(boxes) - 1), size)
    height, width = size
    near = torch.minimum(moved[:, :2], numbers_like([width, height], moved) - SHORTEST)
    moved = torch.cat([near, torch.maximum(moved[:, 2:], near + SHORTEST)], dim=1)
    own = box_iou(moved, boxes).diagonal()
    return moved[own >= FAITHFUL]
