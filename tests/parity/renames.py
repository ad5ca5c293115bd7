"""The reference's parameter names -> ours, by rule. No torch here: a reader of published weights needs the same rules.

A rule is a regular expression over the whole name and its replacement. `{0}`, `{1}` .. are the expression's groups,
`{0-2}` is a group read as a number less 2.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Renames:
    """rules: see above; the first that matches a name holds. background_last: expressions of names whose first axis has
    the background behind the classes, as all class logits of detectron2 and mmdetection have; here it is in front.
    unused: expressions of names that compute nothing here. with_activation: expressions of modules that also run the
    ReLU behind them, which is a module of its own here.
    """

    rules: Sequence[tuple[str, str]]
    background_last: Sequence[str] = ()
    unused: Sequence[str] = ()
    with_activation: Sequence[str] = ()

    def __call__(self, name: str) -> str | None:
        """Our name of a parameter or module; None where it is unused. Raises KeyError without a rule for it."""
        if any(re.search(expression, name) for expression in self.unused):
            return None
        for expression, replacement in self.rules:
            match = re.fullmatch(expression, name)
            if match:
                return _filled_in(replacement, match)
        raise KeyError(f"no rule for the reference's {name!r}")

    def rolled(self, name: str) -> bool:
        """Whether the last row of this parameter is the background, which is our first."""
        return any(re.search(expression, name) for expression in self.background_last)

    def activated(self, name: str) -> bool:
        """Whether this module's output is not comparable because it comes after the ReLU."""
        return any(re.search(expression, name) for expression in self.with_activation)


def _filled_in(replacement: str, match: re.Match) -> str:
    def group(place: re.Match) -> str:
        number, less = place.groups()
        text = match.group(int(number) + 1) or ""
        return str(int(text) - int(less)) if less else text

    return re.sub(r"\{(\d)(?:-(\d+))?\}", group, replacement)


# Every name ends as it did, or names a module itself: (.weight|.bias|...) or nothing.
END = r"(\.\w+)?"

MMDETECTION_TRUNK = (
    (r"backbone\.(.*)", "backbone.body.{0}"),
    (rf"neck\.lateral_convs\.(\d)\.conv{END}", "neck.laterals.{0}{1}"),
    (rf"neck\.fpn_convs\.(\d)\.conv{END}", "neck.outputs.{0}{1}"),
    (rf"rpn_head\.rpn_conv{END}", "rpn.head.conv.0.0{0}"),
    (rf"rpn_head\.rpn_cls{END}", "rpn.head.cls_logits{0}"),
    (rf"rpn_head\.rpn_reg{END}", "rpn.head.bbox_pred{0}"),
)


def _mmdetection_box(reference: str, ours: str) -> tuple[tuple[str, str], ...]:
    return (
        (rf"{reference}\.shared_fcs\.0{END}", ours + ".head.fc6{0}"),
        (rf"{reference}\.shared_fcs\.1{END}", ours + ".head.fc7{0}"),
        (rf"{reference}\.fc_cls{END}", ours + ".predictor.cls_score{0}"),
        (rf"{reference}\.fc_reg{END}", ours + ".predictor.bbox_pred{0}"),
    )


def _mmdetection_mask(reference: str, ours: str) -> tuple[tuple[str, str], ...]:
    return (
        (rf"{reference}\.convs\.(\d)\.conv{END}", ours + ".convs.{0}{1}"),
        (rf"{reference}\.upsample{END}", ours + ".upsample{0}"),
        (rf"{reference}\.conv_logits{END}", ours + ".predictor{0}"),
    )


MMDETECTION_MASK_RCNN = Renames(
    rules=(
        *MMDETECTION_TRUNK,
        *_mmdetection_box(r"roi_head\.bbox_head", "roi_heads.box_stage"),
        *_mmdetection_mask(r"roi_head\.mask_head", "roi_heads.mask_branch.head"),
    ),
    background_last=(r"\.fc_cls",),
)

DETECTRON2_TRUNK = (
    (rf"backbone\.bottom_up\.stem\.conv1\.norm{END}", "backbone.body.bn1{0}"),
    (rf"backbone\.bottom_up\.stem\.conv1{END}", "backbone.body.conv1{0}"),
    (rf"backbone\.bottom_up\.res(\d)\.(\d+)\.shortcut\.norm{END}", "backbone.body.layer{0-1}.{1}.downsample.1{2}"),
    (rf"backbone\.bottom_up\.res(\d)\.(\d+)\.shortcut{END}", "backbone.body.layer{0-1}.{1}.downsample.0{2}"),
    (rf"backbone\.bottom_up\.res(\d)\.(\d+)\.conv(\d)\.norm{END}", "backbone.body.layer{0-1}.{1}.bn{2}{3}"),
    (rf"backbone\.bottom_up\.res(\d)\.(\d+)\.conv(\d){END}", "backbone.body.layer{0-1}.{1}.conv{2}{3}"),
    (rf"backbone\.fpn_lateral(\d){END}", "neck.laterals.{0-2}{1}"),
    (rf"backbone\.fpn_output(\d){END}", "neck.outputs.{0-2}{1}"),
    (rf"proposal_generator\.rpn_head\.conv{END}", "rpn.head.conv.0.0{0}"),
    (rf"proposal_generator\.rpn_head\.objectness_logits{END}", "rpn.head.cls_logits{0}"),
    (rf"proposal_generator\.rpn_head\.anchor_deltas{END}", "rpn.head.bbox_pred{0}"),
)

DETECTRON2_MASK_RCNN = Renames(
    rules=(
        *DETECTRON2_TRUNK,
        (rf"roi_heads\.box_head\.fc1{END}", "roi_heads.box_stage.head.fc6{0}"),
        (rf"roi_heads\.box_head\.fc2{END}", "roi_heads.box_stage.head.fc7{0}"),
        (rf"roi_heads\.box_predictor\.(cls_score|bbox_pred){END}", "roi_heads.box_stage.predictor.{0}{1}"),
        (rf"roi_heads\.mask_head\.mask_fcn(\d){END}", "roi_heads.mask_branch.head.convs.{0-1}{1}"),
        (rf"roi_heads\.mask_head\.deconv{END}", "roi_heads.mask_branch.head.upsample{0}"),
        (rf"roi_heads\.mask_head\.predictor{END}", "roi_heads.mask_branch.head.predictor{0}"),
    ),
    background_last=(r"\.cls_score",),
    with_activation=(r"rpn_head\.conv$", r"mask_fcn\d$"),
)

MMDETECTION_LOSSES = (
    (r"loss_rpn_cls", "loss_objectness"),
    (r"loss_rpn_bbox", "loss_rpn_box_reg"),
    (r"loss_cls", "loss_classifier"),
    (r"loss_bbox", "loss_box_reg"),
    (r"(loss_mask(?:_iou)?)", "{0}"),
)
DETECTRON2_LOSSES = (
    (r"loss_rpn_cls", "loss_objectness"),
    (r"loss_rpn_loc", "loss_rpn_box_reg"),
    (r"loss_cls", "loss_classifier"),
    (r"(loss_box_reg|loss_mask)", "{0}"),
)
