"""What every detector of the suite does alike: refuse targets that cannot be, run in evaluation mode for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode within, the mode of before afterwards."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def check_targets(images: list[Tensor], targets: list[dict] | None) -> None:
    """Raises ValueError naming the first target that training cannot use."""
    if targets is None or len(targets) != len(images):
        raise ValueError(f"training needs one target per image: {len(images)} images, {len(targets or [])} targets")
    for index, (image, target) in enumerate(zip(images, targets, strict=True)):
        name = f"target {index} (image_id {target.get('image_id', '?')})"
        absent = [key for key in ("boxes", "labels", "masks") if key not in target]
        if absent:
            raise ValueError(f"{name} has no {absent[0]!r}")
        count, size = len(target["boxes"]), tuple(image.shape[-2:])
        if len(target["labels"]) != count or tuple(target["masks"].shape) != (count, *size):
            raise ValueError(
                f"{name}: {count} boxes, {len(target['labels'])} labels and"
                f" masks {list(target['masks'].shape)} do not belong together;"
                f" masks must be [{count},{size[0]},{size[1]}]"
            )
