"""Images of any size become one padded batch; ground-truth boxes are scaled with them, masks are not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reprolib.models.dialects import IMAGENET_MEAN, IMAGENET_STD, find_dialect
from reprolib.models.on_device import numbers_like


@dataclass(frozen=True, kw_only=True)
class InputSize:
    """Sizes in px at which a network sees images; the values here are the published ones of most systems.

    Raises ValueError for a size below 1.
    """

    min_sizes: tuple[int, ...] = (800,)  # training: the short side is drawn from these
    max_size: int = 1333  # of the long side
    test_size: int = 800  # inference: the short side

    def __post_init__(self) -> None:
        if not self.min_sizes or min(*self.min_sizes, self.test_size, self.max_size) < 1:
            raise ValueError(f"schedule: min_sizes, max_size and test_size must be positive, not {self}")

    def at_most(self, *, short_side: int, long_side: int | None = None) -> InputSize:
        """The same, with sides that are no longer than these; shorter ones are kept."""
        return InputSize(
            min_sizes=tuple(sorted({min(side, short_side) for side in self.min_sizes})),
            max_size=min(self.max_size, long_side or self.max_size),
            test_size=min(self.test_size, short_side),
        )


@dataclass(frozen=True, kw_only=True)
class Batch:
    """tensors: [B,3,H,W], padded at the right and bottom. Sizes are (height, width) per image in pixels."""

    tensors: Tensor
    image_sizes: list[tuple[int, int]]  # inside the padded batch
    original_sizes: list[tuple[int, int]]  # of the input images

    def to_original(self, index: int) -> tuple[float, float]:
        """Factors (x, y) from this batch's pixels to those of the original image."""
        (height, width), (original_height, original_width) = (
            self.image_sizes[index],
            self.original_sizes[index],
        )
        return original_width / width, original_height / height


class InputTransform(nn.Module):
    """Normalise, resize, pad to a multiple of `divisor`.

    In training the short side is drawn from the input size's `min_sizes`, per image and from torch's global generator;
    in inference it is `test_size`. The long side is at most `max_size` pixels. Without keep_ratio both sides get the
    length of the short one.
    """

    def __init__(
        self,
        input_size: InputSize,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        bgr: bool,
        divisor: int = 32,
        keep_ratio: bool = True,
    ) -> None:
        super().__init__()
        self.min_sizes, self.test_size = input_size.min_sizes, input_size.test_size
        self.max_size = input_size.max_size
        self.bgr, self.divisor, self.keep_ratio = bgr, divisor, keep_ratio
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def forward(self, images: list[Tensor], targets: list[dict] | None = None) -> tuple[Batch, list[dict] | None]:
        """images: [3,H,W] in 0..1, else TypeError or ValueError. Returned targets: `boxes` in batch pixels,
        `masks` (and `semantic` maps, if there are any) of the original size, and `to_original`, the factors (x, y) from
        batch pixels to original ones.
        """
        resized = [self._prepare(image) for image in images]
        padded = self._pad(resized)
        batch = Batch(
            # Not in training: there the backward pass of convolutions and group norm takes up to 1.8 times as long.
            tensors=padded if self.training else conv_layout(padded),
            image_sizes=[tuple(image.shape[-2:]) for image in resized],
            original_sizes=[tuple(image.shape[-2:]) for image in images],
        )
        if targets is None:
            return batch, None
        return batch, [self._target(target, batch.to_original(i)) for i, target in enumerate(targets)]

    def _prepare(self, image: Tensor) -> Tensor:
        if image.ndim != 3 or image.shape[0] != 3 or min(image.shape) < 1:
            raise ValueError(f"an image must be [3,H,W], not {list(image.shape)}")
        if not image.is_floating_point():
            raise TypeError(f"an image must be floating point in 0..1, not {image.dtype}; divide by 255")
        image = (image.as_subclass(Tensor) - self.mean) / self.std
        size = self._resized(image.shape[-2:], self._draw() if self.training else self.test_size)
        if size != tuple(image.shape[-2:]):
            image = F.interpolate(image[None], size=size, mode="bilinear", align_corners=False)[0]
        return image.flip(0) if self.bgr else image

    def test_input(self, height: int, width: int) -> tuple[int, int]:
        """Padded height and width of the network's input for such an image in inference."""
        return self._padded(self._resized((height, width), self.test_size))

    def _resized(self, size: Sequence[int], short: int) -> tuple[int, int]:
        if not self.keep_ratio:
            return short, short
        factor = min(short / min(size), self.max_size / max(size))
        height, width = (max(1, math.floor(side * factor)) for side in size)
        return height, width

    def _padded(self, size: Sequence[int]) -> tuple[int, int]:
        height, width = (math.ceil(side / self.divisor) * self.divisor for side in size)
        return height, width

    def _draw(self) -> int:
        if len(self.min_sizes) == 1:
            return self.min_sizes[0]
        return self.min_sizes[int(torch.randint(len(self.min_sizes), (1,)))]

    def _pad(self, images: list[Tensor]) -> Tensor:
        height, width = self._padded([max(image.shape[axis] for image in images) for axis in (1, 2)])
        if all(image.shape[1:] == (height, width) for image in images):
            return torch.stack(images)
        batch = images[0].new_zeros((len(images), 3, height, width))
        for padded, image in zip(batch, images, strict=True):
            padded[:, : image.shape[1], : image.shape[2]] = image
        return batch

    @staticmethod
    def _target(target: dict, to_original: tuple[float, float]) -> dict:
        boxes = target["boxes"].as_subclass(Tensor).float().reshape(-1, 4)
        plain = {"labels": target["labels"].as_subclass(Tensor).long(), "to_original": to_original}
        plain |= {key: target[key].as_subclass(Tensor) for key in ("masks", "semantic") if key in target}
        plain |= {key: target[key] for key in ("image_id",) if key in target}
        return plain | {"boxes": scale_boxes(boxes, 1 / to_original[0], 1 / to_original[1])}


def input_transform(input_size: InputSize, *, dialect: str, keep_ratio: bool = True) -> InputTransform:
    """The transform to these sizes, normalised as the dialect does."""
    bundle = find_dialect(dialect)
    return InputTransform(
        input_size,
        mean=IMAGENET_MEAN,
        std=(1 / 255, 1 / 255, 1 / 255) if bundle.unit_std else IMAGENET_STD,
        bgr=bundle.bgr,
        keep_ratio=keep_ratio,
    )


def conv_layout(maps: Tensor) -> Tensor:
    """[B,C,H,W] unchanged, in the memory layout that is fastest for inference: on a CPU by a fifth."""
    return maps.contiguous(memory_format=torch.channels_last) if maps.device.type == "cpu" else maps


def scale_boxes(boxes: Tensor, x: float, y: float) -> Tensor:
    """boxes [N,4] xyxy -> [N,4] with the coordinates multiplied by x and y."""
    return boxes if x == y == 1 else boxes * numbers_like([x, y, x, y], boxes)
