"""Prompts of boxes and the features that they are fused with; the pyramid that carries what prompts are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reprolib.models.input_transform import Batch
from reprolib.models.parts import HEAD, part
from reprolib.models.two_stage.detector import TwoStage
from reprolib.models.two_stage.prompts import Encoded
from reprolib.papers.insight_any_instance.global_prompts import GlobalPrompts
from reprolib.papers.insight_any_instance.local_prompts import LocalPrompts
from reprolib.papers.insight_any_instance.refined_boxes import refine_boxes
from reprolib.papers.insight_any_instance.switches import Switches
from reprolib.papers.insight_any_instance.tokens import GRID, crop


class PromptedPyramid(list):
    """P2.. as ever, and beside them the images [B,3,H,W] they are of and each GPM's global tokens, see its `encode`."""

    def __init__(
        self, maps: Sequence[Tensor], *, images: Tensor, tokens: Mapping[GlobalPrompts, list[list[Tensor]]]
    ) -> None:
        super().__init__(maps)
        self.images, self.tokens = images, tokens


class PromptedTwoStage(TwoStage):
    """A detector whose pyramid carries the images and their global tokens to the poolers.

    refines_prompts: boxes given by hand are moved by the box heads before they prompt masks.
    """

    refines_prompts = False

    @torch.no_grad()
    def segment(self, image: Tensor | Encoded, boxes: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """As `TwoStage.segment`; with `refines_prompts` the boxes returned are the moved ones.

        Labels and scores stay those of the boxes as given.
        """
        encoded = image if isinstance(image, Encoded) else self.encode(image)
        found = super().segment(encoded, boxes, labels)
        if not self.refines_prompts:
            return found
        moved = refine_boxes(self.roi_heads, encoded, found["boxes"], found["labels"])
        # A box that the heads leave without area stays as given.
        kept = (moved[:, 2:] > moved[:, :2]).all(1)
        moved = torch.where(kept[:, None], moved, found["boxes"])
        return super().segment(encoded, moved, found["labels"]) | {"scores": found["scores"]}

    @part(HEAD)  # the encoders; backbone and neck say themselves what they are
    def pyramid(self, batch: Batch) -> PromptedPyramid:
        encoders = [module for module in self.roi_heads.modules() if isinstance(module, GlobalPrompts)]
        return PromptedPyramid(
            super().pyramid(batch),
            images=batch.tensors,
            tokens={encoder: encoder.encode(batch.tensors, batch.image_sizes) for encoder in encoders},
        )


class Prompts(nn.Module):
    """Boxes -> their prompts [R,C,14,14], the sum of the modules that there are.

    local_prompts, global_prompts: either may be None.
    """

    def __init__(
        self, *, local_prompts: LocalPrompts | None, global_prompts: GlobalPrompts | None, switches: Switches
    ) -> None:
        super().__init__()
        self.local_prompts, self.global_prompts = local_prompts, global_prompts
        self.crop_size, self.crop_op = switches.crop_size, switches.crop_op

    def forward(self, features: PromptedPyramid, boxes: list[Tensor]) -> Tensor:
        """boxes: [N,4] xyxy per image in batch pixels."""
        crops = crop(features.images, boxes, size=self.crop_size, op=self.crop_op)
        return self.of_crops(crops, features, [len(one) for one in boxes])

    def of_crops(self, crops: Tensor, features: PromptedPyramid, counts: list[int]) -> Tensor:
        """crops [R,3,s,s] of the images, `counts` of each."""
        found = []
        if self.local_prompts is not None:
            found.append(self.local_prompts(crops))
        if self.global_prompts is not None:
            found.append(self.global_prompts(crops, features.tokens[self.global_prompts], counts))
        return sum(found)


class Fusion(nn.Module):
    """Prompts [R,C,14,14] and RoI features [R,C,m,m] -> [R,C,m,m], m 14 or 7.

    The prompts pass a 1x1 convolution and a GELU; with `concat` another 1x1 convolution joins both, with `add` their
    sum is the result.
    """

    def __init__(self, channels: int, *, concat: bool) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels, channels, 1)
        self.join = nn.Conv2d(2 * channels, channels, 1) if concat else None

    def forward(self, prompts: Tensor, roi: Tensor) -> Tensor:
        prompts = F.gelu(self.project(prompts))
        if roi.shape[-1] != GRID:
            prompts = F.avg_pool2d(prompts, GRID // roi.shape[-1])
        return roi + prompts if self.join is None else self.join(torch.cat([prompts, roi], dim=1))


class PromptedPooler(nn.Module):
    """A pooler, (pyramid, boxes per image) -> [R,C,m,m], whose RoI features are fused with the boxes' prompts."""

    def __init__(self, *, pooler: nn.Module, prompts: Prompts, fusion: Fusion) -> None:
        super().__init__()
        self.pooler, self.prompts, self.fusion = pooler, prompts, fusion

    def forward(self, features: PromptedPyramid, boxes: list[Tensor]) -> Tensor:
        return self.fusion(self.prompts(features, boxes), self.pooler(features, boxes))

    def placeholder(self, features: PromptedPyramid, count: int) -> Tensor:
        """What `count` boxes of the first image give, from zeros in place of what they show; for counting FLOPs."""
        roi, size = self.pooler.placeholder(features, count), self.prompts.crop_size
        return self.fusion(self.prompts.of_crops(roi.new_zeros((count, 3, size, size)), features, [count]), roi)
