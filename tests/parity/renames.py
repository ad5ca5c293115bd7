"""The reference's parameter names -> ours, by rule. No torch here: a reader of published weights needs the same rules.

A rule is a regular expression over the whole name and its replacement. `{0}`, `{1}` .. are the expression's groups,
`{0-2}` and `{0+1}` are groups read as numbers, less 2 and more 1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Renames:
    """rules: see above; the first that matches a name holds. background_last: expressions of names whose first axis has
    the background behind the classes, as all class logits of detectron2 and mmdetection have; here it is in front.
    unused: expressions of names that compute nothing here. apart: expressions of modules whose output has no
    counterpart: they also run the ReLU behind them, or run in other portions. What follows them is compared.
    """

    rules: Sequence[tuple[str, str]]
    background_last: Sequence[str] = ()
    unused: Sequence[str] = ()
    apart: Sequence[str] = ()

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

    def is_apart(self, name: str) -> bool:
        """Whether this module's output has no counterpart."""
        return any(re.search(expression, name) for expression in self.apart)


def _filled_in(replacement: str, match: re.Match) -> str:
    def group(place: re.Match) -> str:
        number, added = place.groups()
        text = match.group(int(number) + 1) or ""
        return str(int(text) + int(added)) if added else text

    return re.sub(r"\{(\d)([+-]\d+)?\}", group, replacement)


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


def _mmdetection_box(reference: str, ours: str, *, groups: int = 0) -> tuple[tuple[str, str], ...]:
    """groups: how many there are in `reference`, which `ours` may use."""
    end = f"{{{groups}}}"
    return (
        (rf"{reference}\.shared_fcs\.0{END}", f"{ours}.head.fc6{end}"),
        (rf"{reference}\.shared_fcs\.1{END}", f"{ours}.head.fc7{end}"),
        (rf"{reference}\.fc_cls{END}", f"{ours}.predictor.cls_score{end}"),
        (rf"{reference}\.fc_reg{END}", f"{ours}.predictor.bbox_pred{end}"),
    )


def _mmdetection_mask(reference: str, ours: str, *, groups: int = 0) -> tuple[tuple[str, str], ...]:
    """groups: how many there are in `reference`, which `ours` may use."""
    end = f"{{{groups}}}"
    return (
        (rf"{reference}\.convs\.(\d)\.conv{END}", f"{ours}.convs.{{{groups}}}{{{groups + 1}}}"),
        (rf"{reference}\.upsample{END}", f"{ours}.upsample{end}"),
        (rf"{reference}\.conv_logits{END}", f"{ours}.predictor{end}"),
    )


BOX_AND_MASK = (
    *_mmdetection_box(r"roi_head\.bbox_head", "roi_heads.box_stage"),
    *_mmdetection_mask(r"roi_head\.mask_head", "roi_heads.mask_branch.head"),
)
BOX_CASCADE = _mmdetection_box(r"roi_head\.bbox_head\.(\d)", "roi_heads.box_stages.{0}", groups=1)
SEMANTIC = (
    (rf"roi_head\.semantic_head\.lateral_convs\.(\d)\.conv{END}", "roi_heads.semantic.laterals.{0}{1}"),
    (rf"roi_head\.semantic_head\.conv_embedding\.conv{END}", "roi_heads.semantic.embedding{0}"),
    (rf"roi_head\.semantic_head\.conv_logits{END}", "roi_heads.semantic.predictor{0}"),
)
BACKGROUND_LAST = (r"\.fc_cls",)

MMDETECTION_MASK_RCNN = Renames(rules=(*MMDETECTION_TRUNK, *BOX_AND_MASK), background_last=BACKGROUND_LAST)

MMDETECTION_PAFPN = Renames(
    rules=(
        (rf"neck\.lateral_convs\.(\d)\.conv{END}", "neck.pyramid.laterals.{0}{1}"),
        (rf"neck\.fpn_convs\.(\d)\.conv{END}", "neck.pyramid.outputs.{0}{1}"),
        (rf"neck\.downsample_convs\.(\d)\.conv{END}", "neck.downs.{0}{1}"),
        (rf"neck\.pafpn_convs\.(\d)\.conv{END}", "neck.outputs.{0}{1}"),
        *MMDETECTION_TRUNK,
        *BOX_AND_MASK,
    ),
    background_last=BACKGROUND_LAST,
)

MMDETECTION_CASCADE_MASK_RCNN = Renames(
    rules=(
        *MMDETECTION_TRUNK,
        *BOX_CASCADE,
        *_mmdetection_mask(r"roi_head\.mask_head\.(\d)", "roi_heads.mask_branches.{0}.head", groups=1),
    ),
    background_last=BACKGROUND_LAST,
)

MMDETECTION_HTC = Renames(
    rules=(
        *MMDETECTION_TRUNK,
        *BOX_CASCADE,
        *_mmdetection_mask(r"roi_head\.mask_head\.(\d)", "roi_heads.mask_flow.heads.{0}", groups=1),
        (rf"roi_head\.mask_head\.(\d)\.conv_res\.conv{END}", "roi_heads.mask_flow.sites.{0-1}.project{1}"),
        *SEMANTIC,
        # A ReLU of ours stands between two convolutions.
        *(
            (rf"roi_head\.semantic_head\.convs\.{index}\.conv{END}", f"roi_heads.semantic.convs.{2 * index}{{0}}")
            for index in range(4)
        ),
    ),
    background_last=BACKGROUND_LAST,
)

MMDETECTION_SCNET = Renames(
    rules=(
        *MMDETECTION_TRUNK,
        *BOX_CASCADE,
        (rf"roi_head\.mask_head\.convs\.(\d)\.conv(\d){END}", "roi_heads.mask_branch.head.convs.{0}.conv{1}{2}"),
        *_mmdetection_mask(r"roi_head\.mask_head", "roi_heads.mask_branch.head"),
        *SEMANTIC,
        (rf"roi_head\.semantic_head\.convs\.(\d)\.conv(\d){END}", "roi_heads.semantic.convs.{0}.conv{1}{2}"),
        (rf"roi_head\.feat_relay_head\.fc{END}", "roi_heads.relay.fc{0}"),
        (r"roi_head\.glbctx_head\.(.*)", "roi_heads.global_context.{0}"),
    ),
    background_last=BACKGROUND_LAST,
    # For the relay the reference runs the last box stage once more, logits included.
    apart=(r"bbox_head\.2\.fc_(cls|reg)$",),
)

MMDETECTION_MASK_SCORING_RCNN = Renames(
    rules=(
        *MMDETECTION_TRUNK,
        *BOX_AND_MASK,
        (rf"roi_head\.mask_iou_head\.convs\.(\d){END}", "roi_heads.mask_branch.iou_head.convs.{0}{1}"),
        (rf"roi_head\.mask_iou_head\.fcs\.(\d){END}", "roi_heads.mask_branch.iou_head.fc{0+1}{1}"),
        (rf"roi_head\.mask_iou_head\.fc_mask_iou{END}", "roi_heads.mask_branch.iou_head.predictor{0}"),
    ),
    background_last=BACKGROUND_LAST,
)


def _generic_extractor(reference: str, ours: str) -> tuple[tuple[str, str], ...]:
    reference = rf"roi_head\.{reference}"
    return (
        (rf"{reference}\.pre_module\.conv{END}", f"{ours}.pre{{0}}"),
        (rf"{reference}\.post_module\.gamma", f"{ours}.attention.gamma"),
        (rf"{reference}\.post_module\.(query|value)_conv{END}", f"{ours}.attention.{{0}}{{1}}"),
        (rf"{reference}\.post_module\.appr_geom_fc_y{END}", f"{ours}.attention.down{{0}}"),
        (rf"{reference}\.post_module\.appr_geom_fc_x{END}", f"{ours}.attention.across{{0}}"),
        (rf"{reference}\.post_module\.proj_conv{END}", f"{ours}.attention.project{{0}}"),
    )


MMDETECTION_GROIE = Renames(
    rules=(
        *MMDETECTION_TRUNK,
        *BOX_AND_MASK,
        *_generic_extractor("bbox_roi_extractor", "roi_heads.box_pooler"),
        *_generic_extractor("mask_roi_extractor", "roi_heads.mask_branch.pooler"),
    ),
    background_last=BACKGROUND_LAST,
)

MMDETECTION_POINT_REND = Renames(
    rules=(
        *MMDETECTION_TRUNK,
        *_mmdetection_box(r"roi_head\.bbox_head", "roi_heads.box_stage"),
        (rf"roi_head\.mask_head\.downsample_conv\.conv{END}", "roi_heads.mask_branch.head.reduce{0}"),
        (rf"roi_head\.mask_head\.fcs\.(\d){END}", "roi_heads.mask_branch.head.fc{0+1}{1}"),
        (rf"roi_head\.mask_head\.fc_logits{END}", "roi_heads.mask_branch.head.predictor{0}"),
        (rf"roi_head\.point_head\.fcs\.(\d)\.conv{END}", "roi_heads.mask_branch.point_head.layers.{0}{1}"),
        (rf"roi_head\.point_head\.fc_logits{END}", "roi_heads.mask_branch.point_head.predictor{0}"),
    ),
    background_last=BACKGROUND_LAST,
    # The reference refines one image after the other.
    apart=(r"point_head\.",),
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
    apart=(r"rpn_head\.conv$", r"mask_fcn\d$"),
)

MMDETECTION_LOSSES = (
    (r"loss_rpn_cls", "loss_objectness"),
    (r"loss_rpn_bbox", "loss_rpn_box_reg"),
    (r"loss_cls", "loss_classifier"),
    (r"loss_bbox", "loss_box_reg"),
    (r"s(\d)\.loss_cls", "loss_classifier_{0+1}"),
    (r"s(\d)\.loss_bbox", "loss_box_reg_{0+1}"),
    (r"s(\d)\.loss_mask", "loss_mask_{0+1}"),
    (r"(loss_mask(?:_iou)?)", "{0}"),
    (r"loss_point", "loss_mask_point"),
    (r"loss_semantic_seg", "loss_semantic"),
    (r"loss_glbctx", "loss_global_context"),
)
DETECTRON2_LOSSES = (
    (r"loss_rpn_cls", "loss_objectness"),
    (r"loss_rpn_loc", "loss_rpn_box_reg"),
    (r"loss_cls", "loss_classifier"),
    (r"(loss_box_reg|loss_mask)", "{0}"),
)
