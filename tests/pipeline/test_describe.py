"""What `reprolib describe` counts is one typical image, as the model's transform pads it."""

from pathlib import Path

import pytest

from reprolib.models.input_transform import InputSize, InputTransform
from reprolib.papers.addresses import resolve_address
from reprolib.params import load_profile, resolve
from reprolib.pipeline.describe import describe, typical_input_size

PAPER = load_profile("paper", path=Path(__file__).parents[2] / "params.yaml")


@pytest.mark.parametrize(
    ("test_size", "keep_ratio", "expected"),
    [
        (800, True, (800, 1088)),
        (512, True, (512, 704)),  # 1.36 times 512 is 696.3, padded to a multiple of 32
        (544, False, (544, 544)),  # a square whatever the image
    ],
)
def test_input_sizes(test_size, keep_ratio, expected):
    transform = InputTransform(
        InputSize(min_sizes=(test_size,), test_size=test_size, max_size=1333),
        mean=(0, 0, 0),
        std=(1, 1, 1),
        bgr=False,
        keep_ratio=keep_ratio,
    )
    assert typical_input_size(transform) == expected


def test_yolact_is_counted_on_the_square_that_it_sees():
    run = resolve(PAPER, resolve_address("coco-yolact_r50"), 0)
    assert describe(run)["input_size"] == [550, 550]
