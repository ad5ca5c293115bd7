"""Insight Any Instance as a whole: counts, hosts, every switch trains a step, prompts on an encoded image."""

from __future__ import annotations

import math
import re
from dataclasses import asdict
from importlib import resources

import pytest
import torch

from reprolib.evaluation.cost import count_parameters, on_meta
from reprolib.models.input_transform import InputSize
from reprolib.models.systems.cascade_mask_rcnn import model as cascade_mask_rcnn
from reprolib.models.systems.mask_rcnn import model as mask_rcnn
from reprolib.models.systems.scnet import model as scnet
from reprolib.models.two_stage.samples import RoISampler
from reprolib.papers.insight_any_instance import model as insight
from reprolib.papers.insight_any_instance.gt_prompts import PromptSampler
from reprolib.papers.insight_any_instance.switches import CHOICES, Switches, resolve_switches
from reprolib.params import Scale

EVERYTHING = ("lpm", "gpm", "parea")
HOSTS = {"mask_rcnn": mask_rcnn, "cascade_mask_rcnn": cascade_mask_rcnn, "scnet": scnet}
THIN = Scale(
    backbones={"resnet50": "test_resnet"},
    norm="group",
    pretrained=False,
    frozen_stages=0,
    channels=16,
    box_hidden=16,
    anchor_sizes=(8, 16, 32, 64, 128),
    rpn_pre_nms=(40, 20),
    rpn_post_nms=(30, 10),
    rpn_batch=64,
    roi_batch=16,
    detections=5,
    score_threshold=0.001,
)
INPUT_SIZE = InputSize(min_sizes=(64,), test_size=64, max_size=128)


def published(*components: str, **switches):
    return on_meta(
        lambda: insight.build(
            num_classes=15,
            backbone="resnet50",
            components=components,
            scale=Scale(),
            input_size=INPUT_SIZE,
            **switches,
        )
    )


def thin(*components: str, seed: int = 0, **switches):
    torch.manual_seed(seed)
    return insight.build(
        num_classes=2, backbone="resnet50", components=components, scale=THIN, input_size=INPUT_SIZE, **switches
    )


def scene(height: int = 64, width: int = 64, *, seed: int = 0):
    image = torch.rand((3, height, width), generator=torch.Generator().manual_seed(seed)) * 0.3
    boxes = torch.tensor([[6.0, 8, 30, 44], [32, 20, 60, 52]])
    masks = torch.zeros((2, height, width), dtype=torch.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.long().tolist(), strict=True):
        mask[y0:y1, x0:x1] = 1
    return image, {"boxes": boxes, "labels": torch.tensor([1, 2]), "masks": masks, "image_id": seed}


def train_step(model, *scenes):
    images, targets = zip(*(scenes or (scene(),)), strict=True)
    torch.manual_seed(3)
    losses = model.train()(list(images), list(targets))
    sum(losses.values()).backward()
    return losses


@pytest.mark.parametrize(
    ("components", "count", "printed"),
    [
        ((), 44_046_506, 44.1),
        (("lpm",), 46_395_778, 46.4),
        (("gpm",), 49_182_378, 49.2),
        (("parea",), 44_046_506, 44.1),
        (EVERYTHING, 51_334_530, 51.3),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, tuple) else None,
)
def test_parameters_are_those_of_table_2(components, count, printed) -> None:
    assert count_parameters(published(*components))["params"] == count
    assert abs(count / 1e6 - printed) < 0.06  # 44.05, printed as 44.1


def test_parameters_of_the_parts() -> None:
    pooler = published(*EVERYTHING).roi_heads.mask_branch.pooler

    def count(module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    assert count(pooler.prompts.local_prompts) == 2_152_152
    assert count(pooler.prompts.global_prompts) == 4_938_752
    assert count(pooler.fusion) == 197_120
    mlp = published("lpm", lpm_mixer="mlp").roi_heads.mask_branch.pooler.prompts.local_prompts
    assert count(mlp.mlp) == 1_575_168
    coarse = published("gpm", gpm_patch=32).roi_heads.mask_branch.pooler.prompts.global_prompts
    assert count(coarse.global_patches) == 786_688


@pytest.mark.parametrize("host", HOSTS)
def test_without_components_it_is_the_host(host) -> None:
    """The same weights of the same seed, and the same losses."""
    ours = thin(host=host)
    torch.manual_seed(0)
    arguments = {"num_classes": 2, "backbone": "resnet50", "scale": THIN, "input_size": INPUT_SIZE}
    theirs = HOSTS[host].build(**arguments, dialect="mm")
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    theirs.load_state_dict(ours.state_dict())
    first, second = train_step(ours), train_step(theirs)
    assert {name: loss.item() for name, loss in first.items()} == {name: loss.item() for name, loss in second.items()}


@pytest.mark.parametrize("host", HOSTS)
def test_mask_stages_share_prompts_unless_told_otherwise(host) -> None:
    def count(**switches) -> int:
        return count_parameters(published("lpm", "gpm", host=host, **switches))["params"]

    base = count_parameters(published(host=host))["params"]
    one = 2_152_152 + 4_938_752 + 197_120
    assert count() == base + one
    assert count(share_across_stages=False) == base + (3 if host == "cascade_mask_rcnn" else 1) * one
    assert count(prompt_targets="mask+box") == base + one + 197_120  # the box stages' own fusion


@pytest.mark.parametrize("host", HOSTS)
def test_a_box_given_by_hand_is_moved_only_on_request(host) -> None:
    """Every stage is made to double the width; the last box is clipped at the image's border."""
    given = torch.tensor([[20.0, 10, 22, 40], [50, 10, 60, 20]])
    model = thin("lpm", host=host, prompt_refine_box=True)
    stages = [model.roi_heads.box_stage] if host == "mask_rcnn" else list(model.roi_heads.box_stages)
    for stage in stages:
        torch.nn.init.zeros_(stage.predictor.bbox_pred.weight)
        stage.predictor.bbox_pred.bias.data.view(-1, 4)[:] = torch.tensor([0, 0, math.log(2), 0])
        stage.predictor.bbox_pred.bias.data.view(-1, 4)[:, 2] *= stage.box_coder.weights[2]
    image = scene()[0]
    found = model.segment(image, given)
    times = 2 ** len(stages)
    expected = torch.tensor([[21.0 - times, 10, 21 + times, 40], [55 - 5 * times, 10, 64, 20]]).clamp(min=0)
    torch.testing.assert_close(found["boxes"][:1], expected[:1])
    assert found["boxes"][1, 2] == 64
    model.refines_prompts = False
    as_given = model.segment(image, given)
    assert torch.equal(as_given["boxes"], given)
    assert torch.equal(as_given["scores"], found["scores"]) and torch.equal(as_given["labels"], found["labels"])


DEFAULTS = asdict(Switches())
SWITCHES = [
    {},
    *({name: value} for name, values in CHOICES.items() for value in values if value != DEFAULTS[name]),
    {"share_across_stages": False, "host": "cascade_mask_rcnn"},
    {"g2l_norm": True},
    {"g2l_residual": False},
    {"g2l_proj": True},
    {"g2l_proj": True, "share_loop_weights": True},
    {"gpm_loops": 1},
    {"gt_prompt_frac": 1.0, "gt_prompt_noise": 0.0},
    {"append_clean_gt": True},
    {"prompt_refine_box": True},
    {"parea_weight": 0.5, "parea_iou_thr": 0.3},
    {"lpm_mixer": "mlp", "token_concat": "sequence"},
    {"parea_on": "roi", "host": "cascade_mask_rcnn"},
    {"parea_on": "roi", "parea_match": "argmax_all", "host": "scnet"},
    {"prompt_targets": "mask+box", "host": "scnet"},
]


@pytest.mark.parametrize("switches", SWITCHES, ids=lambda s: "-".join(f"{k}.{v}" for k, v in s.items()))
def test_every_value_of_every_switch_trains_and_segments(switches) -> None:
    """Of images that are not square too; gradients reach every parameter, but what starts at zero stays there."""
    model = thin(*EVERYTHING, **switches)
    losses = train_step(model, scene(), scene(60, 90, seed=1))
    assert all(loss.isfinite() and loss >= 0 for loss in losses.values())
    parea = [name for name in losses if name.startswith("loss_parea")]
    staged = switches.get("parea_on") == "roi" and switches.get("host", "mask_rcnn") != "mask_rcnn"
    assert len(parea) == (3 if staged else 1)
    untouched = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert untouched == []
    found = model.segment(scene(60, 90, seed=1)[0], torch.tensor([[3.0, 4, 50, 40]]))
    assert found["masks"].shape == (1, 60, 90)


@pytest.mark.parametrize("host", HOSTS)
def test_gradients_reach_every_prompt_parameter(host) -> None:
    model = thin(*EVERYTHING, host=host)
    branch = getattr(model.roi_heads, "mask_branch", None) or model.roi_heads.mask_branches[0]
    torch.nn.init.normal_(branch.head.predictor.weight, std=0.1)
    train_step(model)
    prompts = {name: p for name, p in model.named_parameters() if "prompts" in name or "fusion" in name}
    # A learned spectrum of zeros, two streams, two and two times three layers, patches, fusion.
    assert len(prompts) == 1 + 4 + 1 + 4 + 2 * 12 + 6 * 12 + 4 + 4
    assert [name for name, p in prompts.items() if not p.grad.any()] == []


def test_global_tokens_are_made_once_for_an_image_and_all_its_prompts(monkeypatch) -> None:
    model = thin("gpm", host="cascade_mask_rcnn").eval()
    encoder = model.roi_heads.mask_branches[0].pooler.prompts.global_prompts
    calls = []
    of_image = encoder._of_image
    monkeypatch.setattr(encoder, "_of_image", lambda *given: calls.append(1) or of_image(*given))
    image = scene()[0]
    with torch.no_grad():
        model([image])
    assert len(calls) == 1
    encoded = model.encode(image)
    for _ in range(3):
        model.segment(encoded, torch.tensor([[3.0, 4, 50, 40], [10, 10, 20, 30]]))
    assert len(calls) == 2


def test_a_cascade_prompts_its_detections_once(monkeypatch) -> None:
    model = thin("lpm", "gpm", host="cascade_mask_rcnn").eval()
    prompts = model.roi_heads.mask_branches[0].pooler.prompts
    calls = []
    forward = prompts.forward
    monkeypatch.setattr(prompts, "forward", lambda *given: calls.append(1) or forward(*given))
    model.segment(scene()[0], torch.tensor([[3.0, 4, 50, 40]]))
    assert len(calls) == 1


def test_masks_depend_on_the_picture_inside_and_outside_the_box() -> None:
    """The LPM reads what the box shows; the GPM what it does not show as well."""
    box, image = torch.tensor([[10.0, 10, 30, 30]]), scene()[0]
    far = image.clone()
    far[:, 40:, 40:] = 1
    for components, changes in ((("lpm",), False), (("gpm",), True)):
        model = thin(*components).eval()
        prompts = model.roi_heads.mask_branch.pooler.prompts
        with torch.no_grad():
            before, after = (prompts(model.encode(one).features, [box]) for one in (image, far))
        assert torch.equal(before, after) != changes


def test_padding_does_not_reach_an_image() -> None:
    """Global tokens of a small image are the same beside a larger one."""
    model = thin("gpm").eval()
    small, large = scene(64, 64)[0], scene(64, 120, seed=1)[0]
    with torch.no_grad():
        alone, together = (model.pyramid(model.transform(images)[0]).tokens for images in ([small], [small, large]))
    (alone,), (together,) = alone.values(), together.values()
    assert [len(of_image) for of_image in together] == [3, 3]
    assert together[0][0].shape == (1, 16, 16) and together[1][0].shape == (1, 4 * 8, 16)
    for mine, beside in zip(alone[0], together[0], strict=True):
        torch.testing.assert_close(mine, beside)


@pytest.mark.parametrize(
    ("components", "switches", "mixes"),
    [
        ((), {}, False),
        (("parea",), {}, False),
        (("lpm",), {}, True),
        (("gpm", "parea"), {}, True),
        (("parea",), {"gt_prompts": "on"}, True),
        (EVERYTHING, {"gt_prompts": "off"}, False),
    ],
)
@pytest.mark.parametrize("host", HOSTS)
def test_instances_prompt_where_there_is_a_prompt_module(components, switches, mixes, host) -> None:
    heads = published(*components, host=host, **switches).roi_heads
    samplers = heads.samplers if hasattr(heads, "samplers") else [heads.sampler]
    assert {type(sampler) for sampler in samplers} == {PromptSampler if mixes else RoISampler}
    assert [sampler.iou for sampler in samplers] == [0.5, 0.6, 0.7][: len(samplers)]


def test_stretching_makes_every_image_square() -> None:
    model = thin("gpm", resize="stretch").eval()
    batch = model.encode(scene(60, 90)[0]).batch
    assert batch.image_sizes == [(64, 64)] and batch.to_original(0) == (90 / 64, 60 / 64)
    assert thin("gpm").eval().encode(scene(60, 90)[0]).batch.image_sizes == [(64, 96)]


def test_the_card_explains_every_switch() -> None:
    card = (resources.files("reprolib.papers") / "insight_any_instance" / "card.md").read_text()
    assert [name for name in DEFAULTS if f"`{name}`" not in card] == []
    for name, allowed in CHOICES.items():
        assert f"`{name}`: {', '.join(map(str, sorted(allowed, key=lambda one: one != DEFAULTS[name])))}" in card


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="Insight Any Instance has no component 'cem'; there are lpm, gpm, parea"):
        resolve_switches(("cem",))
    with pytest.raises(ValueError, match="Insight Any Instance has no switch 'sam'; there are host, resize"):
        resolve_switches((), sam=True)
    for name, allowed in CHOICES.items():
        with pytest.raises(
            ValueError, match=re.escape(f"{name} must be one of {', '.join(map(str, allowed))}, not 'x'")
        ):
            resolve_switches((), **{name: "x"})
    for name, value in {
        "g2l_residual": 1,
        "gpm_loops": 0,
        "gt_prompt_frac": 1.5,
        "gt_prompt_noise": 0.5,
        "parea_iou_thr": 0.0,
        "parea_weight": -1.0,
    }.items():
        with pytest.raises(ValueError, match=f"{name} must"):
            resolve_switches((), **{name: value})
