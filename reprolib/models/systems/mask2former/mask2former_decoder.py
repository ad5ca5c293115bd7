"""Mask2Former's transformer decoder (Cheng et al., CVPR 2022, section 3.2.2): queries look inside their own masks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reprolib.models.layers.transformer import DecoderLayer, sine_positions, tokens
from reprolib.models.queries.mask_classification import Predictions
from reprolib.models.queries.query_predictor import QueryPredictor

LAYERS, LEVELS = 9, 3


class MaskedDecoder(nn.Module):
    """The mask feature and the maps of strides 32, 16, 8 -> `Predictions` of ten outputs, in inference the last.

    The layers read the three maps in turn. A query attends to where the mask predicted before is; where that is
    nowhere, to everything.
    """

    def __init__(self, channels: int, *, num_classes: int, queries: int) -> None:
        super().__init__()
        self.queries = nn.Embedding(queries, channels)
        self.positions = nn.Embedding(queries, channels)
        self.level_embedding = nn.Embedding(LEVELS, channels)
        self.layers = nn.ModuleList(
            DecoderLayer(channels, hidden=8 * channels, memory_first=True) for _ in range(LAYERS)
        )
        self.predictor = QueryPredictor(channels, num_classes=num_classes)

    def forward(self, features: list[Tensor]) -> Predictions:
        mask_feature, *maps = features
        sizes = [tuple(x.shape[-2:]) for x in maps]
        memories = [tokens(x) + level for x, level in zip(maps, self.level_embedding.weight, strict=True)]
        positions = [sine_positions(size, x.shape[1], device=x.device) for size, x in zip(sizes, maps, strict=True)]
        x = self.queries.weight.repeat(len(mask_feature), 1, 1)
        outputs = [self.predictor(x, mask_feature)]
        for number, layer in enumerate(self.layers):
            level = number % LEVELS
            x = layer(
                x,
                position=self.positions.weight,
                memory=memories[level],
                memory_position=positions[level],
                allowed=inside_masks(outputs[-1][1], sizes[level])[:, None],
            )
            outputs.append(self.predictor(x, mask_feature))
        classes, masks = zip(*(outputs if self.training else outputs[-1:]), strict=True)
        return Predictions(list(classes), list(masks))


@torch.no_grad()
def inside_masks(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Mask logits [B,Q,h,w] -> bool [B,Q,height*width]: where a mask of that size is, all where it is nowhere."""
    inside = F.interpolate(logits, size=size, mode="bilinear", align_corners=False).flatten(2) >= 0
    return inside | ~inside.any(2, keepdim=True)
