"""What the paper leaves open, as named switches (see card.md for what each default rests on)."""

from __future__ import annotations

from dataclasses import dataclass

from reprolib.models.switch_checks import check_components, check_switches, check_values, switch_names

COMPONENTS = ("lpm", "gpm", "parea")

CHOICES = {
    "host": ("mask_rcnn", "cascade_mask_rcnn", "scnet"),
    "resize": ("keep_ratio", "stretch"),
    "prompt_targets": ("mask", "mask+box"),
    "crop_op": ("roi_align", "bilinear_resize"),
    "crop_size": (14, 28, 56),
    "freq_op": ("add", "multiply"),
    "token_concat": ("channel", "sequence"),
    "lpm_mixer": ("transformer", "mlp"),
    "lpm_stride": (1, 2),
    "gpm_patch": (16, 32),
    "fuse": ("concat", "add"),
    "gt_prompts": ("auto", "on", "off"),
    "parea_on": ("rpn", "roi"),
    "parea_match": ("iou_thr", "argmax_all"),
    "parea_grad": ("rpn_decode", "none"),
}


@dataclass(frozen=True, kw_only=True)
class Switches:
    """Host and prompts in general first, then LPM, GPM, the boxes that prompt in training, the area loss."""

    host: str = "mask_rcnn"  # mask_rcnn | cascade_mask_rcnn | scnet
    resize: str = "keep_ratio"  # keep_ratio | stretch: of images that are not square, to the schedule's square
    prompt_targets: str = "mask"  # mask | mask+box: whose RoI features the prompts are fused with
    share_across_stages: bool = True  # a cascade's mask stages have one LPM, GPM and fusion
    crop_op: str = "roi_align"  # roi_align | bilinear_resize: how a box is cut out of the image
    crop_size: int = 28  # 14 | 28 | 56 px, the paper's S_ps
    fuse: str = "concat"  # concat | add: the projected prompt and the RoI features
    freq_op: str = "add"  # add | multiply: the learned spectrum to, or with, the crop's
    token_concat: str = "channel"  # channel | sequence: spatial and frequency tokens
    lpm_mixer: str = "transformer"  # transformer | mlp: two attention layers, or a wider MLP on each token alone
    lpm_stride: int = 2  # 2 | 1: of LPM's patches; 1 has four times the tokens, averaged afterwards
    gpm_loops: int = 3  # times that local tokens ask the global ones
    gpm_patch: int = 16  # 16 | 32 px: side of a global token
    g2l_norm: bool = False  # both sides of Eq. 5 pass a layer norm without parameters
    g2l_residual: bool = True  # the answer is added to the local tokens; off (Eq. 5), it replaces them
    g2l_proj: bool = False  # learned projections of queries, keys and values in Eq. 5
    share_loop_weights: bool = False  # the same layers in every loop
    gt_prompts: str = "auto"  # auto | on | off: auto where there is an LPM or a GPM to prompt
    gt_prompt_frac: float = 0.5  # chance of an instance's box to join the proposals; one per image always does
    gt_prompt_noise: float = 0.1  # each side of such a box moves by up to this part of the width or height
    append_clean_gt: bool = False  # all instances' boxes, without noise, join them as well
    prompt_refine_box: bool = False  # boxes given by hand are moved by the box heads first
    parea_on: str = "rpn"  # rpn | roi: the proposals, or what the box heads make of the sampled ones
    parea_match: str = "iou_thr"  # iou_thr | argmax_all: only boxes that meet an instance, or all (the literal reading)
    parea_iou_thr: float = 0.5
    parea_grad: str = "rpn_decode"  # rpn_decode | none: whether the loss reaches the RPN's (or box heads') deltas
    parea_weight: float = 1.0

    def __post_init__(self):
        check_values(self, CHOICES)
        if isinstance(self.gpm_loops, bool) or not isinstance(self.gpm_loops, int) or self.gpm_loops < 1:
            raise ValueError(f"gpm_loops must be a whole number from 1, not {self.gpm_loops!r}")
        if not 0 <= self.gt_prompt_frac <= 1:
            raise ValueError(f"gt_prompt_frac must be in [0, 1], not {self.gt_prompt_frac}: it is a chance")
        if not 0 <= self.gt_prompt_noise < 0.5:
            raise ValueError(f"gt_prompt_noise must be in [0, 0.5), not {self.gt_prompt_noise}: sides would meet")
        if not 0 < self.parea_iou_thr <= 1:
            raise ValueError(f"parea_iou_thr must be in (0, 1], not {self.parea_iou_thr}: it is an IoU")
        if not self.parea_weight >= 0:
            raise ValueError(f"parea_weight must not be negative, not {self.parea_weight}")


def resolve_switches(components: tuple[str, ...], **changes: object) -> Switches:
    """The defaults with single switches changed.

    Raises ValueError for components, switches and values that do not exist. Switches of absent components do nothing,
    so that ablations can share them.
    """
    check_components("Insight Any Instance", components, COMPONENTS)
    check_switches("Insight Any Instance", changes, switch_names(Switches))
    return Switches(**changes)


def has_prompts(components: tuple[str, ...]) -> bool:
    """Whether boxes are prompted with more than the host's own features."""
    return bool({"lpm", "gpm"} & set(components))


def mixes_gt_prompts(components: tuple[str, ...], switches: Switches) -> bool:
    """Whether noisy boxes of instances prompt in training, in place of the host's clean ones."""
    return has_prompts(components) if switches.gt_prompts == "auto" else switches.gt_prompts == "on"
