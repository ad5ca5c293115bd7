"""Predictions that hold given instances: the head finds these instances, and as many as its post-processing ranks."""

import pytest
import torch

from benchmarks.given_instances import spread_pairs, with_instances
from benchmarks.speed import give_instances
from reprolib.models.systems.solov2 import matrix_nms, solov2_inference
from reprolib.papers.addresses import resolve_address
from reprolib.params import load_profile, resolve
from reprolib.pipeline.runs.build import build_model

SOLOV2 = "coco-solov2_r50-location_attention"
YOLACT = "coco-yolact_r101-location_attention"
POLARMASK = "coco-polarmask_r101-location_attention"
KNET = "coco-k_net_r101-knet"
QUERYINST = "coco-queryinst_r101-queryinst~queries.300"
MASK2FORMER = "coco-mask2former_r101-mask2former"


@pytest.fixture(scope="module")
def profile():
    return load_profile("demo")


def model_of(profile, experiment_id):
    return build_model(resolve(profile, resolve_address(experiment_id), 0), num_classes=3).eval()


def test_as_many_candidates_as_stated_reach_matrix_nms(profile, monkeypatch):
    seen = []
    monkeypatch.setattr(
        solov2_inference, "matrix_nms", lambda masks, *rest: seen.append(masks) or matrix_nms.matrix_nms(masks, *rest)
    )
    model = model_of(profile, SOLOV2)
    give_instances(model, torch.rand(3, 128, 128), detections=100)
    with torch.inference_mode():
        (found,) = model([torch.rand(3, 96, 96)])
    (masks,) = seen
    assert 450 <= len(masks) <= 500  # a neighbour in the grid may be the better one of its class
    assert len(masks.unique(dim=0)) > 0.8 * 32  # the mask feature of the demo's SOLOv2 has 32 channels
    sides = (found["boxes"][:, 2:] - found["boxes"][:, :2]).prod(1).sqrt() / 96
    assert sides.min() < 0.1 and 0.3 < sides.max() < 0.7


@pytest.mark.parametrize("experiment_id", [SOLOV2, YOLACT, POLARMASK, KNET, QUERYINST, MASK2FORMER])
def test_given_instances_are_found_where_they_are(profile, experiment_id):
    model = model_of(profile, experiment_id)
    boxes = torch.tensor([[16.0, 16, 64, 80], [72, 24, 120, 112], [8, 96, 48, 124]])
    with torch.inference_mode():
        batch, _ = model.transform([torch.rand(3, 128, 128)])
        predictions = model.head(model.pyramid(batch))
        given = with_instances(model.head, predictions, batch, boxes)
        for one, other in zip(predictions, given, strict=True):
            if isinstance(one, torch.Tensor):
                assert one.shape == other.shape
        (found,) = model.head.detections(given, batch)
    order = found["boxes"][:, 0].argsort()
    torch.testing.assert_close(found["boxes"][order], boxes[[2, 0, 1]], atol=2.0, rtol=0)
    x0, y0, x1, y1 = found["boxes"][0].round().int().tolist()
    assert found["masks"][0, y0 + 2 : y1 - 2, x0 + 2 : x1 - 2].all()


@pytest.mark.parametrize("count", [3, 7, 20, 50])
def test_spread_pairs_are_different(count):
    rows, labels = spread_pairs(count, cells=7, num_classes=3, device=torch.device("cpu"))
    assert len(rows) == min(count, 21) == len(set(zip(rows.tolist(), labels.tolist(), strict=True)))
