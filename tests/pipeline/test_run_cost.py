"""What an evaluation says of a model's cost: at the split's median input and mean number of detections."""

from __future__ import annotations

import types

import pytest
from torch import nn

from reprolib.papers.addresses import resolve_address
from reprolib.params import load_profile, resolve
from reprolib.pipeline.runs import evaluation


class Model(nn.Linear):
    """Its input is twice the image."""

    transform = types.SimpleNamespace(test_input=lambda height, width: (2 * height, 2 * width))


@pytest.mark.parametrize(("detections", "mean"), [(0, 1), (1, 1), (5, 1), (7, 2), (9, 2), (11, 3)])
def test_cost_is_at_the_median_input_and_the_rounded_mean_of_detections_at_least_one(monkeypatch, detections, mean):
    measured = []
    monkeypatch.setattr(evaluation, "build_model", lambda *_, **__: Model(1, 1))
    monkeypatch.setattr(evaluation, "flops", lambda model, *size, **counts: measured.append((size, counts)) or 77)
    run = resolve(load_profile("demo"), resolve_address("coco-mask_rcnn_r50"), 0)

    class Images:
        sizes, class_names = [(10, 50), (40, 20), (20, 90), (30, 10)], ("ship",)

        def __len__(self):
            return 4

    cost = evaluation._cost(run, Model(1, 1), Images(), [{}] * detections)
    counts = {"proposals": run.scale.rpn_post_nms[1], "detections": mean}
    assert measured == [((60, 100), counts)]  # of an even number the higher median, of heights and widths apart
    assert cost["flops"] == 77 and cost["flops_input"] == [60, 100]
    assert {key: cost[key] for key in counts} == counts
