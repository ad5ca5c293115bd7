"""MAI-SE-Net: HTC with attention between its mask heads and a longer, balanced feature pyramid."""

from __future__ import annotations

from functools import partial

from torch import nn

from reprolib.models.input_transform import InputSize
from reprolib.models.systems.htc.model import htc_heads
from reprolib.models.two_stage.detector import TwoStage, two_stage
from reprolib.models.two_stage.mask_flow import MaskFlow
from reprolib.models.two_stage.mask_head import MaskHead
from reprolib.models.two_stage.region_proposals import region_proposals
from reprolib.papers.mai_se_net.mask_interaction import MaskInteraction
from reprolib.papers.mai_se_net.scale_enhancement import ScaleEnhancementPyramid, pyramid_strides
from reprolib.papers.mai_se_net.switches import MASK_INTERACTION, SCALE_ENHANCEMENT, Switches, resolve_switches
from reprolib.params import Scale

NAME = "MAI-SE-Net"
STAGES = 3


def build(
    *,
    num_classes: int,
    backbone: str,
    components: tuple[str, ...] = (),
    scale: Scale,
    input_size: InputSize,
    **switches: object,
) -> TwoStage:
    """MAI-SE-Net with these components (paper figure 1); without any it is HTC without its semantic branch.

    components: of `aspp`, `nlb`, `csab` (mask attention interaction), `carafeb`, `fbo`, `gcb` (scale enhancement).
    switches: see `switches.Switches`. Raises ValueError for unknown components or switches.
    """
    chosen = resolve_switches(components, **switches)
    has_p1 = "carafeb" in components
    mask_flow = None
    if set(components) & set(MASK_INTERACTION):
        mask_flow = interacting_mask_heads(scale.channels, num_classes, components=components, switches=chosen)
    heads = htc_heads(
        num_classes=num_classes,
        scale=scale,
        dialect="mm",
        mask_flow=mask_flow,
        strides=pyramid_strides(components),
        finest_scale=chosen.roi_finest_scale if has_p1 else None,
    )

    def neck(in_channels: list[int]) -> nn.Module:
        return ScaleEnhancementPyramid(in_channels, channels=scale.channels, components=components, switches=chosen)

    rpn = None
    if has_p1:
        rpn = region_proposals(scale, dialect="mm", anchor_sizes=anchor_sizes(scale, keep_b6=chosen.keep_b6))
    return two_stage(
        heads,
        backbone=backbone,
        scale=scale,
        input_size=input_size,
        dialect="mm",
        neck=neck if set(components) & set(SCALE_ENHANCEMENT) else None,
        rpn=rpn,
    )


def interacting_mask_heads(
    channels: int, num_classes: int, *, components: tuple[str, ...], switches: Switches
) -> MaskFlow:
    """The mask heads of the three stages, with mask attention interaction between successive ones."""
    new_site = partial(MaskInteraction, channels, components=components, switches=switches)
    sites = [new_site()]
    for _ in range(STAGES - 2):
        sites.append(sites[0] if switches.share_mai else new_site())
    widths = [channels, *(site.out_channels for site in sites)]
    heads = [MaskHead(channels, outputs=num_classes, in_channels=width) for width in widths]
    return MaskFlow(heads, sites)


def anchor_sizes(scale: Scale, *, keep_b6: bool) -> tuple[float, ...]:
    """Anchor sizes in px of B1, B2 and so on: half those of the baseline's levels; B6 has the baseline's largest."""
    halved = tuple(size / 2 for size in scale.anchor_sizes)
    return (*halved, scale.anchor_sizes[-1]) if keep_b6 else halved
