"""Masks as a few coefficients of their cosine transform (DCT-Mask: Shen et al., CVPR 2021, section 3.2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class MaskDCT(nn.Module):
    """Square masks [R,size,size] to and from the first `dim` coefficients [R,dim] of their orthonormal 2-D DCT-II.

    Coefficients are in zig-zag order; of 128x128 the first 300 are those whose indices sum up to at most 23. Nothing
    is learned. Raises ValueError for a dim that is not 1 to size squared.
    """

    def __init__(self, *, size: int, dim: int) -> None:
        super().__init__()
        if not 1 <= dim <= size * size:
            raise ValueError(f"dct_dim must be 1 to {size * size}, the pixels of a mask of dct_size {size}, not {dim}")
        places = zigzag(size)[:dim]
        self.kept = 1 + max(max(place) for place in places)  # rows of the transform that are needed
        self.register_buffer("cosines", cosine_matrix(size)[: self.kept].float(), persistent=False)
        flat = [row * self.kept + column for row, column in places]
        self.register_buffer("order", torch.tensor(flat), persistent=False)

    def encode(self, masks: Tensor) -> Tensor:
        """masks [R,size,size] -> [R,dim], float32."""
        with torch.autocast(masks.device.type, enabled=False):
            spectrum = self.cosines @ masks.float() @ self.cosines.T
        return spectrum.flatten(1)[:, self.order]

    def decode(self, coefficients: Tensor) -> Tensor:
        """coefficients [R,dim] -> [R,size,size] float32: about 1 inside and 0 outside, not bounded."""
        spectrum = coefficients.new_zeros((len(coefficients), self.kept**2), dtype=torch.float32)
        spectrum[:, self.order] = coefficients.float()
        with torch.autocast(coefficients.device.type, enabled=False):
            return self.cosines.T @ spectrum.unflatten(1, (self.kept, self.kept)) @ self.cosines


def cosine_matrix(size: int) -> Tensor:
    """The orthonormal DCT-II as a matrix [size,size], float64: row k times a signal is its k-th coefficient."""
    frequency, place = torch.arange(size, dtype=torch.float64)[:, None], torch.arange(size, dtype=torch.float64)
    matrix = torch.cos(math.pi * frequency * (2 * place + 1) / (2 * size)) * math.sqrt(2 / size)
    matrix[0] /= math.sqrt(2)
    return matrix


def zigzag(size: int) -> list[tuple[int, int]]:
    """All (row, column) of a square, diagonal by diagonal in alternating directions: (0,0), (0,1), (1,0), (2,0), .."""

    def key(place: tuple[int, int]) -> tuple[int, int]:
        row, column = place
        diagonal = row + column
        return diagonal, row if diagonal % 2 else column

    return sorted(((row, column) for row in range(size) for column in range(size)), key=key)
