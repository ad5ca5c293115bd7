"""What paper and published code leave open or disagree about, as named switches (evidence of the defaults: card.md)."""

from __future__ import annotations

from dataclasses import dataclass

from reprolib.models.switch_checks import check_choice, check_components, check_switches, check_values, switch_names

COMPONENTS = ("biou", "attention", "edge")

CHOICES = {
    "host": ("mask_rcnn", "mask_scoring_rcnn"),
    "roi_fusion": ("all_level_concat", "single_level"),
    "reg_parametrization": ("auto", "exp_pixels", "exp_times_half"),
    "tower_init": ("auto", "normal", "kaiming"),
    "loc_assign": ("assigned_gt", "any_gt"),
    "giou_clamp": ("half", "giou"),
    "iou_act": ("sigmoid_both", "code", "linear_both"),
    "iou_target": ("clamped_giou", "giou", "iou"),
    "select": ("final_score", "class_first"),
    "edge_fuse": ("sum", "concat"),
    "edge_weight": ("formula_roi", "formula_batch", "const5"),
}

# Switches whose 'auto' depends on pretraining: what it stands for with it, and without.
DECIDED = (("reg_parametrization", "exp_pixels", "exp_times_half"), ("tower_init", "normal", "kaiming"))

# What the authors' code computes; where it is silent about a switch the defaults stand for it as well.
VARIANTS: dict[str, dict[str, object]] = {
    "spec": {},
    "code": {
        "reg_parametrization": "exp_pixels",
        "tower_init": "normal",
        "floor_points": True,
        "giou_clamp": "giou",
        "detach_iou_target": False,
        "iou_act": "code",
        "select": "class_first",
        "edge_weight": "const5",
    },
}


@dataclass(frozen=True, kw_only=True)
class Switches:
    """The framework and its RoI features first, then the box head, then the mask head."""

    host: str = "mask_rcnn"  # mask_rcnn | mask_scoring_rcnn
    roi_fusion: str = "all_level_concat"  # all_level_concat | single_level: what both RoI extractors read
    count_dead_roi_convs: bool = False  # also register what the code builds and never uses, for table 6's counts
    reg_parametrization: str = "auto"  # exp_pixels | exp_times_half: exp(x) px, or times half the RoI's side
    tower_init: str = "auto"  # normal | kaiming: the box head's towers start at a deviation of 0.01, or at Kaiming's
    floor_points: bool = False  # locations rounded down to whole pixels, proposals widened to at least one
    loc_assign: str = "assigned_gt"  # assigned_gt | any_gt: whose boxes make a location positive
    giou_clamp: str = "half"  # half | giou: which of (GIoU + 1) / 2 and GIoU the box loss keeps above 1e-6
    detach_iou_target: bool = True  # no gradient from the IoU loss into the boxes
    iou_act: str = "sigmoid_both"  # sigmoid_both | code | linear_both; code: linear in training, sigmoid in inference
    iou_target: str = "clamped_giou"  # clamped_giou | giou | iou: of the decoded box and its instance
    select: str = "final_score"  # final_score | class_first: the location by score times IoU, or after the class
    use_iou_score: bool = True  # the predicted IoU takes part in choosing and ranking boxes
    nms_threshold: float = 0.6  # of the fully convolutional box head; the plain head keeps Mask R-CNN's
    edge_fuse: str = "sum"  # sum | concat: edge features and mask features
    edge_weight: str = "formula_roi"  # formula_roi | formula_batch | const5: weight of edge pixels in the edge loss
    edge_border_counts: bool = True  # mask pixels on the RoI's border are edge
    edge_thickness: int = 1  # pixels of the 28x28 target

    def __post_init__(self):
        check_values(self, CHOICES)
        if not 0 < self.nms_threshold < 1:
            raise ValueError(f"nms_threshold must be in (0, 1), not {self.nms_threshold}: it is an IoU")
        if isinstance(self.edge_thickness, bool) or not isinstance(self.edge_thickness, int) or self.edge_thickness < 1:
            raise ValueError(f"edge_thickness must be a positive number of pixels, not {self.edge_thickness!r}")


def resolve_switches(
    components: tuple[str, ...], *, pretrained: bool, variant: str = "spec", **changes: object
) -> Switches:
    """The defaults with single switches changed; what it returns has no 'auto'.

    variant: spec, or code for what the authors' code computes; single changes go over it. pretrained: whether the
    backbone starts from ImageNet; 'auto' then stands for what the code has (exp_pixels, normal), else for what learns
    in a short training from scratch (exp_times_half, kaiming).

    Raises ValueError for components, switches and values that do not exist, and for 'edge' without 'attention'.
    Other switches of absent components do nothing, so that ablations can share them.
    """
    check_components("SEANet", components, COMPONENTS)
    if "edge" in components and "attention" not in components:
        raise ValueError("'edge' supervises the mask attention head: add the component 'attention'")
    check_choice("variant", variant, VARIANTS)
    check_switches("SEANet", changes, ["variant", *switch_names(Switches)])
    chosen = VARIANTS[variant] | changes
    for name, with_pretraining, from_scratch in DECIDED:
        if chosen.get(name, "auto") == "auto":
            chosen[name] = with_pretraining if pretrained else from_scratch
    return Switches(**chosen)
