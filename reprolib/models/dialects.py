"""The two families of reference code that the publications build on, and torchvision's, as plain values.

Published two-stage systems are stated either in mmdetection's terms (mm) or in detectron2's (d2), which differ
in details that move parameter counts and tenths of AP. A builder takes `dialect="d2"` and reads it here.
"""

from __future__ import annotations

from dataclasses import dataclass

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """What differs between the reference implementations of one published system."""

    name: str
    trainable_norm_affine: bool  # norms always run on stored statistics; their affine is a parameter or a buffer
    bgr: bool  # channel order of the network's input
    unit_std: bool  # input stays on the 0..255 scale, only the mean is subtracted
    rpn_beta: float  # Smooth L1 beta of the RPN's box loss, 0 = L1
    box_beta: float  # the same for the box head
    roi_aligned: bool  # RoIAlign with the half-pixel shift
    roi_sampling: int  # samples per RoIAlign bin and axis, 0 = as many as the bin has pixels
    exact_anchors: bool  # anchors keep fractions of a pixel
    binary_mask_targets: bool  # cut-out mask targets are thresholded at 0.5
    exact_paste: bool  # masks are sampled at pixel centres; otherwise resized to the box rounded to whole pixels
    background_channels: bool  # box deltas and masks have an (unused) background channel


D2 = Dialect(
    name="d2",
    trainable_norm_affine=False,
    bgr=True,
    unit_std=True,
    rpn_beta=0.0,
    box_beta=0.0,
    roi_aligned=True,
    roi_sampling=0,
    exact_anchors=True,
    binary_mask_targets=True,
    exact_paste=True,
    background_channels=False,
)
MM = Dialect(
    name="mm",
    trainable_norm_affine=True,
    bgr=False,
    unit_std=False,
    rpn_beta=1 / 9,
    box_beta=1.0,
    roi_aligned=True,
    roi_sampling=0,
    exact_anchors=True,
    binary_mask_targets=True,
    exact_paste=True,
    background_channels=False,
)
TORCHVISION = Dialect(
    name="torchvision",
    trainable_norm_affine=False,
    bgr=False,
    unit_std=False,
    rpn_beta=1 / 9,
    box_beta=1 / 9,
    roi_aligned=False,
    roi_sampling=2,
    exact_anchors=False,
    binary_mask_targets=False,
    exact_paste=False,
    background_channels=True,
)


def find_dialect(name: str) -> Dialect:
    """The bundle called `name`; raises ValueError naming the known ones."""
    known = {dialect.name: dialect for dialect in (D2, MM, TORCHVISION)}
    if name not in known:
        raise ValueError(f"unknown dialect {name!r}; known are {', '.join(known)}")
    return known[name]
