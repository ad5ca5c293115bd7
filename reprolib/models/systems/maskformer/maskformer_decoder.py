"""MaskFormer's transformer decoder (Cheng et al., NeurIPS 2021, section 3.3): that of DETR."""

from __future__ import annotations

from torch import Tensor, nn

from reprolib.models.layers.transformer import DecoderLayer, sine_positions, tokens
from reprolib.models.queries.mask_classification import Predictions
from reprolib.models.queries.query_predictor import QueryPredictor

LAYERS = 6


class QueryDecoder(nn.Module):
    """The mask feature and encoded C5 -> `Predictions` of six outputs, in inference the last.

    Queries start at zero; what tells them apart are learned positions.
    """

    def __init__(self, channels: int, *, num_classes: int, queries: int, dropout: float) -> None:
        super().__init__()
        self.positions = nn.Embedding(queries, channels)
        self.layers = nn.ModuleList(DecoderLayer(channels, hidden=8 * channels, dropout=dropout) for _ in range(LAYERS))
        self.predictor = QueryPredictor(channels, num_classes=num_classes)

    def forward(self, features: list[Tensor]) -> Predictions:
        mask_feature, encoded = features
        position = sine_positions(tuple(encoded.shape[-2:]), encoded.shape[1], device=encoded.device)
        x, memory = encoded.new_zeros((len(encoded), *self.positions.weight.shape)), tokens(encoded)
        outputs = []
        for layer in self.layers:
            x = layer(x, position=self.positions.weight, memory=memory, memory_position=position)
            outputs.append(x)
        predictions = [self.predictor(x, mask_feature) for x in (outputs if self.training else outputs[-1:])]
        classes, masks = zip(*predictions, strict=True)
        return Predictions(list(classes), list(masks))
