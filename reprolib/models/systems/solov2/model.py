"""SOLOv2 (Wang et al., NeurIPS 2020): instances by location, with dynamic kernels and Matrix NMS."""

from __future__ import annotations

from reprolib.models.input_transform import InputSize
from reprolib.models.one_stage.detector import OneStage, one_stage
from reprolib.models.systems.solov2.solov2_head import solov2_head
from reprolib.models.systems.solov2.solov2_levels import find_form
from reprolib.models.systems.solov2.solov2_targets import find_collision
from reprolib.params import Scale

NAME = "SOLOv2"


def build(
    *,
    num_classes: int,
    backbone: str,
    scale: Scale,
    input_size: InputSize,
    solo_form: str = "full",
    collision: str = "both_masks",
) -> OneStage:
    """The detector for `num_classes` foreground classes.

    solo_form: `full`, or `light_448`: half as many and narrower convolutions, an input of at most 448 x 768 px.
    collision: what is learned in a grid cell to which several instances are assigned. `both_masks`: the category of
    the last instance and the masks of all (the published code); `last_wins`: the last instance alone.
    Raises ValueError for other values of the switches.
    """
    form = find_form(solo_form)
    if form.short_side:
        input_size = input_size.at_most(short_side=form.short_side, long_side=form.long_side)
    head = solov2_head(
        num_classes=num_classes,
        scale=scale,
        test_size=input_size.test_size,
        form=solo_form,
        assign=find_collision(collision),
    )
    return one_stage(head, backbone=backbone, scale=scale, input_size=input_size)
