"""Boxes as deltas to other boxes, as in Fast R-CNN (Girshick, ICCV 2015, appendix C of R-CNN)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

LARGEST = math.log(1000.0 / 16)  # of a side's delta: larger ones would overflow


class BoxCoder:
    """torchvision's coder, to the bit, without its constants' copies to the device, for each of which a host waits.

    weights: the deltas' factors, of (x, y, width, height).
    """

    def __init__(self, weights: tuple[float, float, float, float]) -> None:
        self.weights = weights

    def encode(self, boxes: Tensor, origins: Tensor) -> Tensor:
        """boxes, origins [N,4] xyxy -> deltas [N,4] from the origins to the boxes."""
        deltas = []
        for axis, (of_centre, of_side) in enumerate(self._by_axis()):
            side, centre = _side_and_centre(origins, axis)
            wanted_side, wanted_centre = _side_and_centre(boxes, axis)
            deltas.append((of_centre * (wanted_centre - centre) / side, of_side * torch.log(wanted_side / side)))
        (x, width), (y, height) = deltas
        return torch.stack([x, y, width, height], dim=1)

    def decode(self, deltas: Tensor, origins: Tensor) -> Tensor:
        """deltas, origins [N,4] -> boxes [N,4] xyxy."""
        origins = origins.to(deltas.dtype)
        corners = []
        for axis, (of_centre, of_side) in enumerate(self._by_axis()):
            side, centre = _side_and_centre(origins, axis)
            centre = deltas[:, axis] / of_centre * side + centre
            half = 0.5 * (torch.clamp(deltas[:, axis + 2] / of_side, max=LARGEST).exp() * side)
            corners.append((centre - half, centre + half))
        (x0, x1), (y0, y1) = corners
        return torch.stack([x0, y0, x1, y1], dim=1)

    def _by_axis(self) -> tuple[tuple[float, float], tuple[float, float]]:
        x, y, width, height = self.weights
        return (x, width), (y, height)


def _side_and_centre(boxes: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    side = boxes[:, axis + 2] - boxes[:, axis]
    return side, boxes[:, axis] + 0.5 * side
