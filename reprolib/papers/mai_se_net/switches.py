"""What the paper leaves open, as named switches (see card.md for what each default rests on)."""

from __future__ import annotations

from dataclasses import dataclass

from reprolib.models.switch_checks import check_components, check_switches, check_values, switch_names

MASK_INTERACTION = ("aspp", "nlb", "csab")
SCALE_ENHANCEMENT = ("carafeb", "fbo", "gcb")
COMPONENTS = MASK_INTERACTION + SCALE_ENHANCEMENT

CHOICES = {
    "aspp_act": ("relu", "none"),
    "nlb_in": ("C", "4C"),
    "csab_out": ("widen_first_conv", "group_reduce", "conv1x1"),
    "p1_source": ("P2_out", "P2_merged"),
    "fbo_up": ("nearest", "bilinear"),
    "se_residual": ("p1_only", "all", "none"),
}


@dataclass(frozen=True, kw_only=True)
class Switches:
    """Mask attention interaction first, then scale enhancement, then the heads on the longer pyramid."""

    share_mai: bool = False  # one set of weights for both sites, M1 to M2 and M2 to M3
    aspp_act: str = "relu"  # relu | none: after each branch of ASPP and after its reduction
    nlb_in: str = "C"  # C | 4C: the non-local block after ASPP's reduction, or before it on the concatenation
    nlb_scale: bool = False  # divide the non-local products by the square root of their width
    csab_out: str = "widen_first_conv"  # widen_first_conv | group_reduce | conv1x1: how 2C channels reach M_i
    cbam_parallel: bool = False  # both attentions from the shuffled features, not the spatial one after the other
    cbam_bn: bool = True  # batch norm in the spatial attention
    p1_source: str = "P2_out"  # P2_out | P2_merged: what CARAFE enlarges, after or before P2's 3x3 convolution
    fbo_up: str = "nearest"  # nearest | bilinear: enlarging in the balance and back
    gcb_ratio: float = 1 / 16  # of the global context block's bottleneck
    se_residual: str = "p1_only"  # p1_only | all | none: raw levels that are added to the recovered ones
    keep_b6: bool = False  # B6 = every second pixel of B5, for the RPN, besides B1..B5
    roi_finest_scale: float = 28  # px; with P1, boxes under twice this size read it (mmdetection's constant is 56)

    def __post_init__(self):
        check_values(self, CHOICES)
        if not 0 < self.gcb_ratio <= 1:
            raise ValueError(f"gcb_ratio must be in (0, 1], not {self.gcb_ratio}: it narrows the block's bottleneck")
        if not self.roi_finest_scale > 0:
            raise ValueError(f"roi_finest_scale must be a positive number of pixels, not {self.roi_finest_scale}")


def resolve_switches(components: tuple[str, ...], **changes: object) -> Switches:
    """The defaults with single switches changed.

    Raises ValueError for components, switches and values that do not exist, and for nlb_in '4C' where the component
    that makes 4C channels is off. Other switches of absent components do nothing, so that ablations can share them.
    """
    check_components("MAI-SE-Net", components, COMPONENTS)
    check_switches("MAI-SE-Net", changes, switch_names(Switches))
    chosen = Switches(**changes)
    if chosen.nlb_in == "4C" and "nlb" in components and "aspp" not in components:
        raise ValueError("nlb_in '4C' reads ASPP's concatenation: add the component 'aspp' or set nlb_in 'C'")
    return chosen
