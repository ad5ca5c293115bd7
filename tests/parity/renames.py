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


# Attention of PyTorch, whose input projections are parameters of its own, and a feed-forward network behind it.
def _feed_forward(reference: str, ours: str) -> tuple[tuple[str, str], ...]:
    """Both have one group, the layer's number."""
    return (
        (rf"{reference}\.ffn\.layers\.0\.0{END}", f"{ours}.expand{{1}}"),
        (rf"{reference}\.ffn\.layers\.1{END}", f"{ours}.reduce{{1}}"),
    )


def _attention(reference: str, ours: str) -> tuple[tuple[str, str], ...]:
    """Both have one group, the layer's number."""
    return (
        (rf"{reference}\.attn\.in_proj_(weight|bias)", f"{ours}.{{1}}"),
        (rf"{reference}\.attn\.out_proj{END}", f"{ours}.output{{1}}"),
    )


MASK_DECODER = r"panoptic_head\.transformer_decoder\.layers\.(\d)"
OUR_DECODER = "head.decoder.layers.{0}"
QUERY_DECODER = (
    (r"backbone\.(.*)", "backbone.body.{0}"),
    *_attention(rf"{MASK_DECODER}\.self_attn", f"{OUR_DECODER}.self_attention.attention"),
    *_attention(rf"{MASK_DECODER}\.cross_attn", f"{OUR_DECODER}.cross_attention.attention"),
    *_feed_forward(MASK_DECODER, f"{OUR_DECODER}.feed_forward"),
    (rf"{MASK_DECODER}\.norms\.2{END}", f"{OUR_DECODER}.feed_forward.norm{{1}}"),
    (rf"panoptic_head\.transformer_decoder\.post_norm{END}", "head.decoder.predictor.norm{0}"),
    (rf"panoptic_head\.query_embed{END}", "head.decoder.positions{0}"),
    (rf"panoptic_head\.cls_embed{END}", "head.decoder.predictor.classes{0}"),
    (rf"panoptic_head\.mask_embed\.(\d){END}", "head.decoder.predictor.masks.{0}{1}"),
)
PIXELS = r"panoptic_head\.pixel_decoder"
# PyTorch's attention reads the weights of its output layer without running it.
QUERIES_APART = (r"out_proj$", r"(query_embed|query_feat|level_embed|level_encoding)$")

MMDETECTION_MASK2FORMER = Renames(
    rules=(
        *QUERY_DECODER,
        (rf"{MASK_DECODER}\.norms\.0{END}", f"{OUR_DECODER}.cross_attention.norm{{1}}"),
        (rf"{MASK_DECODER}\.norms\.1{END}", f"{OUR_DECODER}.self_attention.norm{{1}}"),
        (rf"panoptic_head\.query_feat{END}", "head.decoder.queries{0}"),
        (rf"panoptic_head\.level_embed{END}", "head.decoder.level_embedding{0}"),
        (rf"{PIXELS}\.input_convs\.(\d)\.conv{END}", "neck.projections.{0}.0{1}"),
        (rf"{PIXELS}\.input_convs\.(\d)\.gn{END}", "neck.projections.{0}.1{1}"),
        (rf"{PIXELS}\.encoder\.layers\.(\d)\.self_attn\.sampling_offsets{END}", "neck.layers.{0}.attention.offsets{1}"),
        (
            rf"{PIXELS}\.encoder\.layers\.(\d)\.self_attn\.attention_weights{END}",
            "neck.layers.{0}.attention.weights{1}",
        ),
        (rf"{PIXELS}\.encoder\.layers\.(\d)\.self_attn\.(value|output)_proj{END}", "neck.layers.{0}.attention.{1}{2}"),
        *_feed_forward(rf"{PIXELS}\.encoder\.layers\.(\d)", "neck.layers.{0}.feed_forward"),
        (rf"{PIXELS}\.encoder\.layers\.(\d)\.norms\.0{END}", "neck.layers.{0}.norm{1}"),
        (rf"{PIXELS}\.encoder\.layers\.(\d)\.norms\.1{END}", "neck.layers.{0}.feed_forward.norm{1}"),
        (rf"{PIXELS}\.level_encoding(?:\.weight)?", "neck.level_embedding"),
        (rf"{PIXELS}\.(lateral|output)_convs\.0\.conv{END}", "neck.{0}.0{1}"),
        (rf"{PIXELS}\.(lateral|output)_convs\.0\.gn{END}", "neck.{0}.1{1}"),
        (rf"{PIXELS}\.mask_feature{END}", "neck.mask_feature{0}"),
    ),
    background_last=(r"cls_embed",),
    apart=QUERIES_APART,
)

MMDETECTION_MASKFORMER = Renames(
    rules=(
        *QUERY_DECODER,
        (rf"{MASK_DECODER}\.norms\.0{END}", f"{OUR_DECODER}.self_attention.norm{{1}}"),
        (rf"{MASK_DECODER}\.norms\.1{END}", f"{OUR_DECODER}.cross_attention.norm{{1}}"),
        (rf"{PIXELS}\.encoder_in_proj{END}", "neck.projection{0}"),
        (rf"{PIXELS}\.encoder_out_proj\.conv{END}", "neck.outputs.3.0{0}"),
        (rf"{PIXELS}\.encoder_out_proj\.gn{END}", "neck.outputs.3.1{0}"),
        *_attention(rf"{PIXELS}\.encoder\.layers\.(\d)\.self_attn", "neck.layers.{0}.0.attention"),
        *_feed_forward(rf"{PIXELS}\.encoder\.layers\.(\d)", "neck.layers.{0}.1"),
        (rf"{PIXELS}\.encoder\.layers\.(\d)\.norms\.([01]){END}", "neck.layers.{0}.{1}.norm{2}"),
        (rf"{PIXELS}\.(lateral|output)_convs\.(\d)\.conv{END}", "neck.{0}s.{1}.0{2}"),
        (rf"{PIXELS}\.(lateral|output)_convs\.(\d)\.gn{END}", "neck.{0}s.{1}.1{2}"),
        (rf"{PIXELS}\.mask_feature{END}", "neck.mask_feature{0}"),
    ),
    background_last=(r"cls_embed",),
    # The reference predicts from all six layers in inference too.
    apart=(*QUERIES_APART, r"(cls_embed|mask_embed\.\d)$"),
)

SOLO_FEATURE = r"mask_head\.mask_feature_head"
MMDETECTION_SOLOV2 = Renames(
    rules=(
        *MMDETECTION_TRUNK,
        (rf"mask_head\.cls_convs\.(\d)\.conv{END}", "head.branches.category_convs.{0}.0{1}"),
        (rf"mask_head\.cls_convs\.(\d)\.gn{END}", "head.branches.category_convs.{0}.1{1}"),
        (rf"mask_head\.kernel_convs\.(\d)\.conv{END}", "head.branches.kernel_convs.{0}.0{1}"),
        (rf"mask_head\.kernel_convs\.(\d)\.gn{END}", "head.branches.kernel_convs.{0}.1{1}"),
        (rf"mask_head\.conv_cls{END}", "head.branches.category{0}"),
        (rf"mask_head\.conv_kernel{END}", "head.branches.kernel{0}"),
        (rf"{SOLO_FEATURE}\.convs_all_levels\.(\d)\.conv(\d)\.conv{END}", "head.mask_feature.levels.{0}.{1}.0{2}"),
        (rf"{SOLO_FEATURE}\.convs_all_levels\.(\d)\.conv(\d)\.gn{END}", "head.mask_feature.levels.{0}.{1}.1{2}"),
        (rf"{SOLO_FEATURE}\.conv_pred\.conv{END}", "head.mask_feature.fuse.0{0}"),
        (rf"{SOLO_FEATURE}\.conv_pred\.gn{END}", "head.mask_feature.fuse.1{0}"),
    ),
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
MMDETECTION_QUERY_LOSSES = (
    (r"(?:d\d\.)?loss_cls", "loss_class"),
    (r"(?:d\d\.)?(loss_mask|loss_dice)", "{0}"),
)
MMDETECTION_SOLO_LOSSES = ((r"loss_cls", "loss_category"), (r"loss_mask", "loss_mask"))
DETECTRON2_LOSSES = (
    (r"loss_rpn_cls", "loss_objectness"),
    (r"loss_rpn_loc", "loss_rpn_box_reg"),
    (r"loss_cls", "loss_classifier"),
    (r"(loss_box_reg|loss_mask)", "{0}"),
)
