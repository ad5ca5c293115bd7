"""What an experiment's model costs at a profile's scale, built on the meta device: no memory, no data, no weights."""

from __future__ import annotations

import math

from reprolib.data.cards import class_count
from reprolib.evaluation.cost import count_parameters, flops, on_meta
from reprolib.models.input_transform import InputTransform
from reprolib.models.systems.cards import inferred
from reprolib.params import Run
from reprolib.pipeline.runs.build import build_model

TYPICAL_ASPECT = 1.36  # COCO's typical input, 800 x 1088


def describe(
    run: Run,
    *,
    height: int | None = None,
    width: int | None = None,
    proposals: int | None = None,
    detections: int = 50,
) -> dict[str, object]:
    """Parameters by three counting rules and multiply-adds at a network input size (see `reprolib.evaluation.cost`).

    The input is by default what the model makes of a typical image: its test size by 1.36 of it, rounded up as it pads,
    or a square where it does not keep the ratio. `detections` are the RoIs that the mask head sees. Raises ValueError
    for a data set without a card.
    """
    classes = class_count(run.dataset)
    proposals = proposals or run.scale.rpn_post_nms[1]
    model = on_meta(lambda: build_model(run, num_classes=classes, pretrained=False))
    default = typical_input_size(model.transform)
    height, width = (given or own for given, own in zip((height, width), default, strict=True))
    return {
        "experiment": run.experiment.id,
        "profile": run.profile,
        "system": run.experiment.system,
        **({"inferred": assumed} if (assumed := inferred(run.experiment.module)) else {}),
        "components": list(run.experiment.components),
        "backbone": run.scale.backbones.get(run.experiment.backbone, run.experiment.backbone),
        "dataset": run.dataset,
        "classes": classes,
        **count_parameters(model),
        "flops": flops(model, height, width, proposals, detections),
        "input_size": [height, width],
        "proposals": proposals,
        "detections": detections,
    }


def typical_input_size(transform: InputTransform) -> tuple[int, int]:
    """Height and width that a model's transform makes of a typical image in inference, rounded up as it pads."""
    sides = (transform.test_size, transform.test_size * (TYPICAL_ASPECT if transform.keep_ratio else 1))
    height, width = (math.ceil(side / transform.divisor) * transform.divisor for side in sides)
    return height, width
