"""What the paper's text and its authors' code describe differently, as named switches (see card.md)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from reprolib.models.switch_checks import check_choice, check_components, check_switches, check_values, switch_names

COMPONENTS = ("cem", "gim", "bottomup", "aff", "encdechead")

CHOICES = {"gim_merge": ("concat_conv", "sum"), "mask_head": ("code", "paper")}


@dataclass(frozen=True, kw_only=True)
class Switches:
    """The defaults are the authors' code, which is what the reported parameters and FLOPs were measured on."""

    gim_merge: str = "concat_conv"  # concat_conv | sum (Eq. 2): how GIM joins the lateral of C5
    n2_conv: bool = False  # True: N2 is a 3x3 convolution of P2 (Eq. 9); False: N2 is P2
    aff_pre_conv: bool = False  # True: P_i passes a 3x3 convolution before the fusion (Eq. 12)
    aff_output_conv: bool = True  # False: N_i is the weighted sum itself (Eq. 10)
    aff_shared: bool = True  # one fusion module for the three levels, or one each (the text does not say)
    group_norm: bool = True  # GroupNorm after the convolutions of AFF and the mask head (only in the code)
    mask_head: str = "code"  # code: concatenated skips, 28x28 out | paper: added skips (Eqs. 16 to 20)
    final_up: bool = False  # True: the last bilinear up-sampling of Eq. 20, 56x56 out
    mask_resolution: int = 28  # RoI size of the encoding-decoding mask head
    keep_dead_params: bool = False  # keep the code's unused layers, which its reported counts include

    def __post_init__(self):
        check_values(self, CHOICES)
        if self.mask_resolution % 4:
            raise ValueError(f"mask_resolution must be a multiple of 4, not {self.mask_resolution}: it is halved twice")


VARIANTS = {
    "code": Switches(),
    "paper": Switches(
        gim_merge="sum",
        n2_conv=True,
        aff_pre_conv=True,
        aff_output_conv=False,
        group_norm=False,
        mask_head="paper",
        final_up=True,
    ),
}


def resolve_switches(components: tuple[str, ...], *, variant: str = "code", **changes: object) -> Switches:
    """The switches of a variant, `code` or `paper`, with single ones changed.

    Raises ValueError for components, switches and values that do not exist, and for 'aff' without 'bottomup'.
    """
    check_components("IEMask R-CNN", components, COMPONENTS)
    if "aff" in components and "bottomup" not in components:
        raise ValueError("component 'aff' fuses the bottom-up path: add 'bottomup'")
    check_choice("variant", variant, VARIANTS)
    check_switches("IEMask R-CNN", changes, ["variant", *switch_names(Switches)])
    return replace(VARIANTS[variant], **changes)
