from __future__ import annotations

import pytest
import torch
from torch import nn

from reprolib.engine.optimisers import build_optimiser, parameter_groups
from reprolib.params import Schedule

SCHEDULE = Schedule(weight_decay=1e-4, norm_weight_decay=0.0, momentum=0.8)


def test_norms_and_embeddings_are_not_decayed_biases_are_and_frozen_parameters_stay_out():
    model = nn.ModuleDict(
        {
            "conv": nn.Conv2d(3, 4, 1),
            "batch": nn.BatchNorm2d(4),
            "group": nn.GroupNorm(2, 4),
            "layer": nn.LayerNorm(4),
            "queries": nn.Embedding(5, 4),
            "frozen": nn.Linear(4, 4).requires_grad_(False),
        }
    )
    decayed, norms = parameter_groups(model, SCHEDULE)
    assert decayed["weight_decay"] == 1e-4 and norms["weight_decay"] == 0.0
    assert {id(p) for p in decayed["params"]} == {id(p) for p in model["conv"].parameters()}
    expected = [p for name in ("batch", "group", "layer", "queries") for p in model[name].parameters()]
    assert {id(p) for p in norms["params"]} == {id(p) for p in expected}


def test_norms_of_timm_are_recognised():
    from timm.layers import BatchNormAct2d, LayerNorm2d

    model = nn.Sequential(BatchNormAct2d(4), LayerNorm2d(4))
    (group,) = parameter_groups(model, SCHEDULE)
    assert len(group["params"]) == 4 and group["weight_decay"] == 0.0


def test_a_shared_parameter_is_stepped_once():
    first, second = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    second.weight = first.weight
    (group,) = parameter_groups(nn.Sequential(first, second), SCHEDULE)
    assert len(group["params"]) == 1


def test_a_backbone_may_learn_more_slowly():
    model = nn.ModuleDict({"head": nn.Linear(2, 2), "norm": nn.LayerNorm(2), "backbone": nn.Linear(2, 2)})
    model.backbone = model["backbone"]
    groups = parameter_groups(model, Schedule(backbone_factor=0.1))
    assert [group["factor"] for group in groups] == [1, 0.1, 1]
    assert [group["weight_decay"] for group in groups] == [1e-4, 1e-4, 0]
    assert {id(p) for p in groups[1]["params"]} == {id(p) for p in model.backbone.parameters()}
    assert [group["factor"] for group in parameter_groups(model, SCHEDULE)] == [1, 1]


@pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_the_named_optimiser_is_built(name, kind):
    optimiser = build_optimiser(nn.Linear(2, 2), Schedule(optimizer=name, momentum=0.8))
    assert type(optimiser) is kind
    assert name != "sgd" or optimiser.param_groups[0]["momentum"] == 0.8


def test_errors_name_the_mend():
    with pytest.raises(ValueError, match=r"'lion'.*sgd or adamw"):
        build_optimiser(nn.Linear(2, 2), Schedule(optimizer="lion"))
    with pytest.raises(ValueError, match="nothing can be trained"):
        build_optimiser(nn.Linear(2, 2).requires_grad_(False), Schedule())
