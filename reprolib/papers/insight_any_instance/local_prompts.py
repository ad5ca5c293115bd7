"""LPM, the local prompt module: what a box shows of the image, as tokens of space and of frequency."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reprolib.papers.insight_any_instance.switches import Switches
from reprolib.papers.insight_any_instance.tokens import Patches, TransformerLayer, as_grid, linear

LAYERS = 2  # by the published count of parameters


class LearnedSpectrum(nn.Module):
    """Real FFT of a crop, a learned complex number on (or times) each frequency, and back: [n,3,s,s] -> the same.

    operation: `add` (the paper's word). The transform is linear, so this adds one learned picture to every crop,
    whatever it shows. `multiply` filters the crop instead, as GFNet does (Rao et al., NeurIPS 2021). Both start as the
    identity.
    """

    def __init__(self, size: int, *, operation: str) -> None:
        super().__init__()
        self.operation = operation
        self.weight = nn.Parameter(torch.zeros(3, size, size // 2 + 1, 2))  # real and imaginary parts
        if operation == "multiply":
            with torch.no_grad():
                self.weight[..., 0] = 1

    def forward(self, crops: Tensor) -> Tensor:
        if not len(crops):  # which the transform on CPUs refuses
            return self(crops.new_zeros((1, *crops.shape[1:])))[:0]
        spectrum = torch.fft.rfft2(crops, norm="ortho")
        learned = torch.view_as_complex(self.weight)
        spectrum = spectrum + learned if self.operation == "add" else spectrum * learned
        return torch.fft.irfft2(spectrum, s=crops.shape[-2:], norm="ortho")


class LocalPrompts(nn.Module):
    """Crops [n,3,s,s] -> local prompts [n,C,14,14].

    Overlapping patches of the crop and of what a learned spectrum makes of it give two streams of tokens with learned
    places; they are joined, go through an MLP and, with the mixer `transformer`, two attention layers.
    """

    def __init__(self, channels: int, *, switches: Switches) -> None:
        super().__init__()
        size, stride = switches.crop_size, switches.lpm_stride
        self.by_channel = switches.token_concat == "channel"
        self.spectrum = LearnedSpectrum(size, operation=switches.freq_op)
        self.patches = nn.ModuleList([Patches(channels, size=7, stride=stride, padding=3) for _ in range(2)])
        self.positions = nn.Parameter(torch.empty(2, (size // stride) ** 2, channels))
        nn.init.trunc_normal_(self.positions, std=0.02)
        width = 2 * channels if self.by_channel else channels
        alone = switches.lpm_mixer == "mlp"
        self.mlp = None
        if alone or self.by_channel:
            hidden = 8 * channels if alone else width
            self.mlp = nn.Sequential(linear(width, hidden), nn.GELU(), linear(hidden, channels))
        self.layers = nn.ModuleList([TransformerLayer(channels) for _ in range(0 if alone else LAYERS)])

    def streams(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [n,T,C] of the crop, and of the crop after the learned spectrum."""
        spatial, frequency = (
            patches(shown) + positions
            for patches, shown, positions in zip(
                self.patches, (crops, self.spectrum(crops)), self.positions, strict=True
            )
        )
        return spatial, frequency

    def forward(self, crops: Tensor) -> Tensor:
        # One after the other, the MLP is that of the transformer layers (or, without them, of each token).
        tokens = torch.cat(self.streams(crops), dim=2 if self.by_channel else 1)
        if self.mlp is not None:
            tokens = self.mlp(tokens)
        for layer in self.layers:
            tokens = layer(tokens)
        if not self.by_channel:
            tokens = tokens.unflatten(1, (2, -1)).mean(1)
        return as_grid(tokens)
