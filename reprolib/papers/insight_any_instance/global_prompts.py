"""GPM, the global-to-local prompt module: what a box shows asks the whole image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reprolib.papers.insight_any_instance.switches import Switches
from reprolib.papers.insight_any_instance.tokens import Patches, TransformerLayer, as_grid, linear, places


class GlobalPrompts(nn.Module):
    """Crops [n,3,s,s] and the global tokens of their images -> global prompts [n,C,14,14].

    `encode` turns an image into global tokens, once for every loop; they serve all its boxes and all later prompts.
    """

    def __init__(self, channels: int, *, switches: Switches) -> None:
        super().__init__()
        self.patch, self.loops = switches.gpm_patch, switches.gpm_loops
        self.norm, self.residual = switches.g2l_norm, switches.g2l_residual
        self.global_patches = Patches(channels, size=self.patch, stride=self.patch)
        self.local_patches = Patches(channels, size=2, stride=2)
        count = 1 if switches.share_loop_weights else self.loops
        self.global_layers = nn.ModuleList([TransformerLayer(channels) for _ in range(count)])
        self.local_layers = nn.ModuleList([TransformerLayer(channels) for _ in range(count)])
        self.projections = None
        if switches.g2l_proj:
            triples = [nn.ModuleList([linear(channels, channels) for _ in range(3)]) for _ in range(count)]
            self.projections = nn.ModuleList(triples)

    def encode(self, images: Tensor, image_sizes: list[tuple[int, int]]) -> list[list[Tensor]]:
        """images [B,3,H,W], padded; sizes (h, w) inside. -> per image and loop: global tokens [1,T,C], to be asked.

        Tokens of patches that lie in the padding alone are left out, so that an image's tokens are its own.
        """
        return [self._of_image(image[None], size) for image, size in zip(images, image_sizes, strict=True)]

    def _of_image(self, image: Tensor, size: tuple[int, int]) -> list[Tensor]:
        rows, columns = (-(-side // self.patch) for side in size)
        tokens = self.global_patches(image[:, :, : rows * self.patch, : columns * self.patch])
        tokens = tokens + places(rows, columns, tokens.shape[2], device=tokens.device)
        every = []
        for loop in range(self.loops):
            tokens = self._layer(self.global_layers, loop)(tokens)
            every.append(self._normed(tokens))
        return every

    def forward(self, crops: Tensor, tokens: list[list[Tensor]], counts: list[int]) -> Tensor:
        """tokens: from `encode`. counts: how many crops each image has, in order."""
        local = self.local_patches(crops)
        side = crops.shape[-1] // 2
        local = local + places(side, side, local.shape[2], device=local.device)
        for loop in range(self.loops):
            local = self._layer(self.local_layers, loop)(local)
            answers = [
                self._ask(part, of_image[loop], loop)
                for part, of_image in zip(local.split(counts), tokens, strict=True)
            ]
            answer = torch.cat(answers)
            local = local + answer if self.residual else answer
        return as_grid(local)

    def _ask(self, local: Tensor, tokens: Tensor, loop: int) -> Tensor:
        """Eq. 5: softmax(L G' / sqrt(C)) G for local tokens [n,T,C] and one image's global tokens [1,t,C]."""
        queries, keys, values = self._projected(local.flatten(0, 1)[None], tokens, loop)
        return F.scaled_dot_product_attention(queries[:, None], keys[:, None], values[:, None]).view_as(local)

    def attention(self, local: Tensor, tokens: Tensor, loop: int) -> Tensor:
        """The weights of Eq. 5, [n,T,t]: rows sum to 1. To look at; `forward` never holds them."""
        queries, keys, _ = self._projected(local, tokens, loop)
        return (queries @ keys.transpose(1, 2) / keys.shape[2] ** 0.5).softmax(-1)

    def _projected(self, local: Tensor, tokens: Tensor, loop: int) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values: without projections the tokens themselves."""
        local = self._normed(local)
        if self.projections is None:
            return local, tokens, tokens
        query, key, value = self._layer(self.projections, loop)
        return query(local), key(tokens), value(tokens)

    def _normed(self, tokens: Tensor) -> Tensor:
        return F.layer_norm(tokens, tokens.shape[-1:]) if self.norm else tokens

    @staticmethod
    def _layer(layers: nn.ModuleList, loop: int) -> nn.Module:
        return layers[loop % len(layers)]
