"""What the paper leaves open, as named switches (see card.md for what each default rests on)."""

from __future__ import annotations

from dataclasses import dataclass

from reprolib.models.switch_checks import check_components, check_switches, check_values, switch_names

# The words of table 1's columns; the two-way pyramid and the mask feature on it have one column.
COMPONENTS = ("cspam", "twfpn+csmf", "aml")

CHOICES = {
    "csp_impl": ("split_resnet", "timm_cspresnet50"),
    "csp_pretrained": ("auto", "none", "imagenet"),
    "pam_stages": ("none", "5", "45", "345", "2345"),
    "t1_source": ("reduced_C1", "own_conv"),
    "theta_on": ("T1", "T2"),
    "head_inputs": ("N", "P"),
    "guide": ("add", "mul_sigmoid", "concat"),
    "csmf_levels_from": ("N", "P"),
    "aml_match": ("sigmoid", "linear"),
    "aml_train": ("linear", "sigmoid"),
    "aml_dice": ("paper", "solov2"),
    "eps_units": ("feature_px", "normalised"),
    "collision": ("both_masks", "last_wins"),
}


@dataclass(frozen=True, kw_only=True)
class Switches:
    """The backbone first, then the pyramid and the mask feature, then the matching and its loss."""

    csp_impl: str = "split_resnet"  # split_resnet | timm_cspresnet50: the cross-stage layout
    csp_pretrained: str = "auto"  # auto | none | imagenet; auto: imagenet for timm_cspresnet50, none for split_resnet
    pam_stages: str = "345"  # none | 5 | 45 | 345 | 2345: stages of the backbone with position attention
    pam_shared_reduce: bool = False  # one 1x1 convolution makes P, A and M; otherwise one each
    t1_source: str = "reduced_C1"  # reduced_C1 | own_conv: T1 is M, of C / 8 channels, or a convolution's C / 2
    theta_on: str = "T1"  # T1 | T2: which of the two halves the learned factor multiplies
    pam_outer_residual: bool = True  # the block's input is added to its output
    twfpn_relu: bool = True  # behind both convolutions of a bottom-up step
    head_inputs: str = "N"  # N | P: kernels and categories read the bottom-up levels or the top-down ones
    guide: str = "add"  # add | mul_sigmoid | concat: how P5, enlarged eightfold, meets the finest map
    csmf_levels_from: str = "N"  # N | P: levels 4, 3 and 2 of the mask feature
    aml_match: str = "sigmoid"  # sigmoid | linear: the sum by which the objects of one cell are compared
    aml_train: str = "linear"  # linear | sigmoid: the sum that is trained
    aml_dice: str = "paper"  # paper | solov2: formula 1 for every positive cell, or SOLOv2's dice for the mask loss
    eps_units: str = "feature_px"  # feature_px | normalised: centroids in pixels of the mask feature, or in its sides
    eps_clip: float = 1.0  # the largest epsilon; 0 = unbounded
    collision: str = "both_masks"  # both_masks | last_wins: masks that a cell with several objects learns without AML

    def __post_init__(self):
        check_values(self, CHOICES)
        clip = self.eps_clip
        if isinstance(clip, bool) or not isinstance(clip, int | float) or not 0 <= clip < float("inf"):
            raise ValueError(f"eps_clip must be a positive number, or 0 for none, not {clip!r}")


def resolve_switches(components: tuple[str, ...], **changes: object) -> Switches:
    """The defaults with single switches changed.

    Raises ValueError for components, switches and values that do not exist, and where nothing would read the bottom-up
    levels. Other switches of absent components do nothing, so that ablations can share them.
    """
    check_components("location attention", components, COMPONENTS)
    check_switches("location attention", changes, switch_names(Switches))
    chosen = Switches(**changes)
    if chosen.head_inputs == chosen.csmf_levels_from == "P":
        raise ValueError("head_inputs or csmf_levels_from must be N: with P in both nothing reads the bottom-up path")
    return chosen
