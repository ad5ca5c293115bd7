"""What every system keeps: the detector contract in training and inference, on a pair of tiny images."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import runpy
from functools import cached_property, partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from reprolib.evaluation.cost import flops, on_meta
from reprolib.models import systems
from reprolib.models.builder import build_system
from reprolib.models.input_transform import InputSize
from reprolib.models.systems.yolact import yolact_losses
from reprolib.papers.catalog import all_experiments, papers
from reprolib.params import Scale
from reprolib.pipeline.contract_check import broken_contract

ALL = runpy.run_path(str(Path(__file__).with_name("all_systems.py")))["ALL"]
SCALE = Scale(
    backbones=dict.fromkeys(("resnet50", "resnet101"), "test_resnet") | {"hrnet_w18": "hrnet_w18_small"},
    norm="group",
    pretrained=False,
    frozen_stages=0,
    channels=32,
    box_hidden=32,
    anchor_sizes=(8, 16, 32, 64, 128),
    rpn_pre_nms=(40, 40),
    rpn_post_nms=(40, 20),
    rpn_batch=64,
    roi_batch=16,
    detections=8,
    score_threshold=0.001,  # heads for the focal loss start at 0.01
)
THIN = {
    "num_classes": 2,
    "scale": SCALE,
}
ODD = ((75, 101), (64, 90))


def scene(height: int, width: int, *, seed: int, count: int = 2) -> tuple[Tensor, dict]:
    """Noise with two bright rectangles of classes 1 and 2; the target names the first `count` of them."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand((3, height, width), generator=generator) * 0.3
    boxes = torch.tensor([[6, 8, 30, 44], [32, 20, 60, 52]])
    masks = torch.zeros((2, height, width), dtype=torch.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.tolist(), strict=True):
        mask[y0:y1, x0:x1] = 1
    image[:, masks.any(0).bool()] += 0.5
    target = {"boxes": boxes.float(), "labels": torch.tensor([1, 2]), "masks": masks}
    return image, {key: value[:count] for key, value in target.items()} | {"image_id": seed}


def pair(*, sizes=((64, 64), (64, 64)), counts=(2, 2)) -> tuple[list[Tensor], list[dict]]:
    scenes = [scene(*size, seed=i, count=count) for i, (size, count) in enumerate(zip(sizes, counts, strict=True))]
    return [image for image, _ in scenes], [target for _, target in scenes]


class Built:
    """One system, thin, and what its first training step gave."""

    def __init__(self, system) -> None:
        self.one_stage, self.training_only = system.one_stage, system.training_only
        self.queries = system.queries
        self.module = importlib.import_module(system.module)
        input_size = InputSize(min_sizes=(system.side,), test_size=system.side, max_size=2 * system.side)
        self.arguments = THIN | {"backbone": system.backbone, "input_size": input_size} | system.switches
        self.model = self.new()

    def new(self, *, seed: int = 0, **changes: object) -> nn.Module:
        """A model with the weights of a seed; changes: of the scale."""
        torch.manual_seed(seed)
        return self.module.build(**self.arguments | {"scale": dataclasses.replace(SCALE, **changes)})

    @cached_property
    def losses(self) -> dict[str, Tensor]:
        return step(self.model, *pair())


def step(model: nn.Module, images: list[Tensor], targets: list[dict]) -> dict[str, Tensor]:
    """The losses; their gradients are in the parameters."""
    torch.manual_seed(1)
    model.train().zero_grad(set_to_none=True)
    losses = model(images, targets)
    sum(losses.values()).backward()
    return losses


def detect(model: nn.Module, images: list[Tensor]) -> list[dict[str, Tensor]]:
    with torch.inference_mode():
        return model.eval()(images)


def check_losses(losses: dict[str, Tensor]) -> None:
    for name, loss in losses.items():
        assert name.startswith("loss_") and loss.shape == () and loss.dtype == torch.float32, name
        assert loss.isfinite() and loss >= 0, name


def without_gradient(model: nn.Module) -> set[str]:
    """Trained parameters that got no gradient at all, not even zeros."""
    return {name for name, p in model.named_parameters() if p.requires_grad and p.grad is None}


def check_gradients(model: nn.Module) -> None:
    assert not without_gradient(model)
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


@pytest.fixture(scope="module", params=ALL, ids=lambda system: system.id)
def built(request) -> Built:
    return Built(request.param)


@pytest.fixture
def promptable(built) -> Built:
    """Two-stage systems segment boxes that a person gives."""
    assert hasattr(built.model, "segment") == hasattr(built.model, "encode") == (not built.one_stage)
    if built.one_stage:
        pytest.skip("one-stage systems find instances by place, not in boxes")
    return built


def test_no_system_is_forgotten() -> None:
    found = {
        f"{systems.__name__}.{package.name}.model"
        for package in pkgutil.iter_modules(systems.__path__)
        if package.ispkg
    }
    models = {f"reprolib.papers.{paper}.model" for paper in papers()}
    found |= {name for name in models if importlib.util.find_spec(name)}
    found = {name for name in found if hasattr(importlib.import_module(name), "build")}
    assert "reprolib.models.systems.htc.model" in found and "reprolib.papers.mai_se_net.model" in found
    listed = {system.module for system in ALL}
    assert listed <= found and not [name for name in found - listed if name.startswith(f"{systems.__name__}.")]
    for experiment in all_experiments().values():  # of a paper that is not in the list as yet
        if experiment.module in found - listed:
            assert broken_contract(experiment) == ""


def test_losses_are_finite_scalars(built) -> None:
    assert built.losses and built.module.NAME
    check_losses(built.losses)
    check_gradients(built.model)


def test_every_weight_is_trained(built, monkeypatch) -> None:
    """No parameter's gradient is zero throughout, once blocks that start as the identity are woken.

    Every anchor is sampled, since a level of few anchors is otherwise left out at times. The few units of a thin
    network may all be dead, so weights are drawn up to three times.
    """
    monkeypatch.setattr(yolact_losses, "NEGATIVES", 100_000)
    untrained = {name for name, p in built.model.named_parameters() if p.requires_grad}
    for seed in range(3):
        model = built.new(seed=seed, rpn_batch=100_000)
        for parameter in model.parameters():
            if not parameter.any():
                nn.init.normal_(parameter, std=0.05)
        step(model, *pair())
        untrained -= {name for name, p in model.named_parameters() if p.requires_grad and p.grad.any()}
        if not untrained:
            break
    assert untrained == set()


def test_equal_seeds_give_equal_losses(built) -> None:
    again = step(built.new(), *pair())
    assert {name: loss.item() for name, loss in again.items()} == {n: loss.item() for n, loss in built.losses.items()}


def test_inputs_stay_as_they_are(built) -> None:
    images, targets = pair()
    step(built.new(), images, targets)
    for image, target, fresh_image, fresh in zip(images, targets, *pair(), strict=True):
        assert torch.equal(image, fresh_image) and target.keys() == fresh.keys()
        assert all(torch.equal(target[key], fresh[key]) for key in ("boxes", "labels", "masks"))


@pytest.mark.parametrize("counts", [(0, 2), (0, 0)], ids=["one", "all"])
def test_images_without_instances(built, counts) -> None:
    check_losses(step(built.model, *pair(counts=counts)))
    check_gradients(built.model)


def test_a_batch_of_one(built) -> None:
    images, targets = pair()
    check_losses(step(built.model, images[:1], targets[:1]))
    assert len(detect(built.model, images[:1])) == 1


def test_odd_sizes(built) -> None:
    images, targets = pair(sizes=ODD)
    check_losses(step(built.model, images, targets))
    for size, result in zip(ODD, detect(built.model, images), strict=True):
        assert result["masks"].shape == (len(result["boxes"]), *size)


def test_targets_are_asked_for(built) -> None:
    images, targets = pair()
    built.model.train()
    with pytest.raises(ValueError, match="one target per image: 2 images, 0 targets"):
        built.model(images)
    del targets[1]["masks"]
    with pytest.raises(ValueError, match=r"target 1 \(image_id 1\) has no 'masks'"):
        built.model(images, targets)


def test_detections_are_as_the_contract_says(built) -> None:
    images, _ = pair(sizes=ODD)
    for size, result in zip(ODD, detect(built.model, images), strict=True):
        count, (height, width) = len(result["boxes"]), size
        assert 0 < count <= SCALE.detections
        check_result(result, count=count, size=size)
        x0, y0, x1, y1 = result["boxes"].unbind(1)
        assert (x0 >= 0).all() and (x1 > x0).all() and (x1 <= width + 1e-3).all()
        assert (y0 >= 0).all() and (y1 > y0).all() and (y1 <= height + 1e-3).all()
        assert ((result["labels"] >= 1) & (result["labels"] <= THIN["num_classes"])).all()
        for scores in (result["scores"], result.get("mask_scores", result["scores"])):
            assert ((scores >= 0) & (scores <= 1)).all()
        assert torch.equal(result["scores"], result["scores"].sort(descending=True).values)


@pytest.mark.parametrize("size", ODD, ids=str)
def test_a_mask_is_the_same_whether_its_box_was_found_or_given(promptable, size, monkeypatch) -> None:
    """Bit for bit, and its probabilities too, at sizes that the transform scales by a fraction."""
    model, (image, _) = promptable.new().eval(), scene(*size, seed=3)
    heads, probabilities = model.roi_heads, []

    def recorded(*arguments):
        masked = mask_inference(*arguments)
        probabilities.append(masked[0]["masks"])
        return masked

    mask_inference = heads.mask_inference
    monkeypatch.setattr(heads, "mask_inference", recorded)
    (found,) = detect(model, [image])
    assert len(found["boxes"]) > 1
    encoded = model.encode(image)
    assert encoded.size == size
    prompted = model.segment(encoded, found["boxes"], found["labels"])
    assert torch.equal(prompted["boxes"], found["boxes"]) and torch.equal(prompted["labels"], found["labels"])
    assert torch.equal(prompted["masks"], found["masks"])
    assert not any(value.requires_grad for value in prompted.values())
    again = model.segment(image, found["boxes"], found["labels"])  # encoded anew
    assert again.keys() == prompted.keys() and all(torch.equal(again[key], prompted[key]) for key in again)
    assert len(probabilities) == 3 and probabilities[0].unique().numel() > 100
    assert torch.equal(probabilities[0], probabilities[1]) and torch.equal(probabilities[0], probabilities[2])


def test_a_box_is_segmented_as_if_it_were_alone(promptable) -> None:
    """Class scores and mask probabilities are equal to rounding: a batch of another size is summed in another order."""
    model, (image, _) = promptable.new().eval(), scene(75, 101, seed=3)
    for name, parameter in model.named_parameters():
        if name.endswith("predictor.weight") and "mask" in name:
            nn.init.normal_(parameter, std=0.01)  # they start so low that all masks are about 0.5
    encoded, heads = model.encode(image), model.roi_heads
    boxes = torch.tensor([[10.0, 5, 60, 50], [30, 20, 90.5, 70], [0, 0, 101, 75], [40.2, 41, 44, 45], [3, 9, 9, 70]])
    together = model.segment(encoded, boxes)
    check_result(together, count=5, size=(75, 101))
    check_result(model.segment(encoded, boxes[:0]), count=0, size=(75, 101))

    def answers(rows: slice) -> tuple[Tensor, Tensor]:
        shared = encoded.features, encoded.context
        found = {key: together[key][rows] for key in ("boxes", "labels", "scores")}
        with torch.no_grad():
            (masked,) = heads.mask_inference(*shared, [found])
            return heads.class_scores(*shared, [found["boxes"]]), masked["masks"]

    scores, masks = answers(slice(None))
    assert scores.std() > 0.001 and masks.std() > 0.001
    for row in range(5):
        alone = answers(slice(row, row + 1))
        torch.testing.assert_close(alone[0][0], scores[row], rtol=0, atol=1e-5)
        torch.testing.assert_close(alone[1][0], masks[row], rtol=0, atol=1e-5)


def test_nothing_found_gives_empty_results(built) -> None:
    images, _ = pair(sizes=ODD)
    for size, result in zip(ODD, detect(built.new(score_threshold=1.0), images), strict=True):
        check_result(result, count=0, size=size)


def check_result(result: dict[str, Tensor], *, count: int, size: tuple[int, int]) -> None:
    wanted = {
        "boxes": ((count, 4), torch.float32),
        "labels": ((count,), torch.int64),
        "scores": ((count,), torch.float32),
        "masks": ((count, *size), torch.bool),
    }
    if "mask_scores" in result:
        wanted["mask_scores"] = ((count,), torch.float32)
    assert {key: (tuple(value.shape), value.dtype) for key, value in result.items()} == wanted


def test_trains_under_autocast(built) -> None:
    images, targets = pair()
    torch.manual_seed(1)
    built.model.train().zero_grad(set_to_none=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = built.model(images, targets)
    check_losses(losses)
    sum(losses.values()).backward()
    check_gradients(built.model)


def test_costs_are_counted_without_computing(built) -> None:
    meta = on_meta(built.new)
    costs = [flops(meta, 64, 96, proposals, detections) for proposals, detections in ((10, 5), (11, 5), (10, 6))]
    assert 0 < costs[0] == costs[2] if built.queries else 0 < costs[0] < costs[2]
    assert costs[0] == costs[1] if built.one_stage else costs[0] < costs[1]
    assert flops(built.model, 64, 96, 10, 5) == costs[0]


def test_a_dry_run_leaves_no_layer_out(built) -> None:
    model, ran = on_meta(built.new), set()
    layers = {
        name: module
        for name, module in model.named_modules()
        if any(True for _ in module.parameters(recurse=False)) and not isinstance(module, nn.Embedding)  # a table, read
    }
    for name, layer in layers.items():
        layer.register_forward_pre_hook(lambda *_, name=name: ran.add(name))
    model.dry_run(64, 64, proposals=3, detections=2)
    assert layers.keys() - ran == built.training_only


def test_unknown_components_and_switches_are_refused(built) -> None:
    common = {name: built.arguments[name] for name in ("num_classes", "backbone", "scale", "input_size")}
    build = partial(build_system, built.module, **common, images_per_batch=2)
    refused = "component 'warp_drive'"
    if "components" not in inspect.signature(built.module.build).parameters:
        refused = f"{built.module.NAME} has no components, but warp_drive is switched on"
    with pytest.raises(ValueError, match=refused):
        build(components=("warp_drive",), switches={})
    with pytest.raises(ValueError, match="has no switch 'warp_drive'; there are"):
        build(switches={"warp_drive": True})
