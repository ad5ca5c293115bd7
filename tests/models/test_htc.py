"""Hybrid Task Cascade: counts, which boxes each stage's heads train on, the semantic branch's way into the heads."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torchvision.ops import box_iou

from reprolib.evaluation.cost import count_parameters, flops, on_meta
from reprolib.models.input_transform import InputSize
from reprolib.models.systems.cascade_mask_rcnn import model as cascade_mask_rcnn
from reprolib.models.systems.htc import model as htc
from reprolib.models.systems.htc.hybrid_task_cascade import HybridTaskCascadeHeads, htc_heads
from reprolib.models.two_stage.box_stage import BoxStage
from reprolib.models.two_stage.semantic_branch import build_semantic
from reprolib.params import Scale

SIZE = (64, 64)
TRUTH = torch.tensor([[8.0, 8.0, 40.0, 40.0], [30.0, 20.0, 60.0, 60.0]])


def published(system=htc, **switches):
    return on_meta(lambda: system.build(scale=Scale(), input_size=InputSize(), **switches))


@pytest.mark.parametrize(
    ("dialect", "backbone", "num_classes", "plain", "semantic"),
    [
        ("mm", "resnet50", 80, 77_456_190, 80_258_293),
        ("mm", "resnet50", 1, 77_152_356, 79_954_459),
        ("mm", "resnet101", 80, 96_448_318, 99_250_421),
        ("mm", "resnet101", 1, 96_144_484, 98_946_587),
        ("d2", "resnet50", 80, 77_403_070, 80_205_173),
    ],
)
def test_parameter_counts(dialect, backbone, num_classes, plain, semantic) -> None:
    for source, total in (("off", plain), ("stuff", semantic)):
        model = published(dialect=dialect, backbone=backbone, num_classes=num_classes, semantic_source=source)
        assert count_parameters(model)["params"] == total


def test_what_seanet_counts_as_cascade_mask_rcnn() -> None:
    """Its Table 6 prints 99.09 M: trainable, 81-way masks, MMDetection 1.x's dead convolution, COCO's stuff."""
    arguments = {"dialect": "mm", "backbone": "resnet101", "num_classes": 80, "background_channels": True}
    counted = count_parameters(published(**arguments, semantic_source="stuff", keep_dead_params=True))
    assert counted["params"] == 99_316_984 and counted["trainable_params"] == 99_091_640
    counted = count_parameters(published(cascade_mask_rcnn, **arguments))
    assert counted["params"] == 96_317_505 and counted["trainable_params"] == 96_092_161


def test_flops_include_the_semantic_branch() -> None:
    plain, semantic = (published(backbone="resnet50", num_classes=80, semantic_source=s) for s in ("off", "stuff"))
    # At stride 8 of 800x1216, 100x152 cells: five 1x1, four 3x3, one 1x1 of 256 and one of 183.
    added = 100 * 152 * 256 * (5 * 256 + 4 * 9 * 256 + 256 + 183)
    assert flops(semantic, 800, 1216, 1000, 50) - flops(plain, 800, 1216, 1000, 50) == added


def small(thin_scale: Scale, *, source: str = "off", num_classes: int = 2, **switches) -> HybridTaskCascadeHeads:
    torch.manual_seed(0)
    shared = {"num_classes": num_classes, "scale": thin_scale, "dialect": "mm"}
    return htc_heads(semantic=build_semantic(source, **shared), **shared, **switches)


def inputs(*, count: int = 2):
    """P2..P6 of one 64x64 image, 60 jittered proposals, the first `count` instances."""
    torch.manual_seed(1)
    features = [torch.rand(1, 32, 64 // stride, 64 // stride) for stride in (4, 8, 16, 32, 64)]
    proposals = (TRUTH.repeat(30, 1) + torch.randn(60, 4) * 4).clamp(0, 64)
    masks = torch.zeros(2, *SIZE, dtype=torch.uint8)
    masks[0, 8:40, 8:40] = masks[1, 20:60, 30:60] = 1
    target = {"boxes": TRUTH[:count], "labels": torch.tensor([1, 2])[:count], "masks": masks[:count]}
    return features, [proposals], [SIZE], [target | {"to_original": (1.0, 1.0)}]


def move(stage: BoxStage, x: float) -> None:
    """Let a stage move every box by x times its width, in the units of its own box coder."""
    torch.nn.init.zeros_(stage.predictor.bbox_pred.weight)
    with torch.no_grad():
        stage.predictor.bbox_pred.bias.copy_(torch.tensor([x * stage.box_coder.weights[0], 0.0, 0.0, 0.0]))


@dataclasses.dataclass
class Seen:
    """What the heads did in one training step, in order."""

    sampled: list  # (stage, proposals, samples) of each sampling
    boxed: list  # (stage, samples) of each box loss
    masked: list  # (stage, boxes) of each mask head


def spy(heads: HybridTaskCascadeHeads) -> Seen:
    seen = Seen([], [], [])
    samplers = heads.samplers

    def sampling(stage: int):
        def sample(proposals, targets):
            seen.sampled.append((stage, proposals[0], samplers[stage](proposals, targets)))
            return seen.sampled[-1][-1]

        return sample

    heads.samplers = [sampling(stage) for stage in range(len(samplers))]
    for number, stage in enumerate(heads.box_stages):

        def note(logits, deltas, samples, targets, *, number=number, stage=stage):
            seen.boxed.append((number, samples))
            return BoxStage.losses(stage, logits, deltas, samples, targets)

        stage.losses = note
    pool, flow, boxes_read = heads.mask_features, heads.mask_flow.forward, []
    heads.mask_features = lambda features, context, boxes: boxes_read.append(boxes) or pool(features, context, boxes)

    def mask(rois, stage):
        seen.masked.append((stage, boxes_read[-1][0]))
        return flow(rois, stage)

    heads.mask_flow.forward = mask
    return seen


def test_a_stage_refines_samples_anew_and_trains_its_masks_on_these(thin_scale) -> None:
    heads = small(thin_scale)
    for stage, x in zip(heads.box_stages, (0.05, -0.03, 0.02), strict=True):
        move(stage, x)
    seen = spy(heads)
    features, proposals, sizes, targets = inputs()
    losses = heads(features, proposals, sizes, targets)
    assert set(losses) == {f"loss_{part}_{stage}" for part in ("classifier", "box_reg", "mask") for stage in (1, 2, 3)}

    assert [stage for stage, *_ in seen.sampled] == [0, 0, 1, 1, 2, 2]
    assert [stage for stage, _ in seen.boxed] == [stage for stage, _ in seen.masked] == [0, 1, 2]
    assert torch.equal(seen.sampled[0][1], proposals[0])
    for stage, (iou, x) in enumerate(zip((0.5, 0.6, 0.7), (0.05, -0.03, 0.02), strict=True)):
        (_, _, first), (_, refined, second) = seen.sampled[2 * stage : 2 * stage + 2]
        assert seen.boxed[stage][1] is first
        moved = first.boxes[0] + (first.boxes[0][:, 2:3] - first.boxes[0][:, :1]) * torch.tensor([x, 0, x, 0])
        moved = moved.clamp(0, 64)[~first.ground_truth[0]]
        assert torch.allclose(refined, moved, atol=1e-4), "the sampled boxes refined, but for the ground truth's own"
        for samples in (first, second):
            assert torch.equal(samples.labels[0] > 0, box_iou(TRUTH, samples.boxes[0]).max(0).values >= iou)
            assert 0 < (samples.labels[0] > 0).sum() <= thin_scale.roi_batch // 4
        assert torch.equal(seen.masked[stage][1], second.positives().boxes[0])
        if stage < 2:
            assert torch.equal(seen.sampled[2 * stage + 2][1], refined), "they are the next stage's proposals"


def test_the_ground_truth_is_offered_again_in_every_sampling(thin_scale) -> None:
    heads = small(thin_scale)
    seen = spy(heads)
    features, _, sizes, targets = inputs()
    far = torch.tensor([[50.0, 0.0, 60.0, 10.0]])
    heads(features, [far], sizes, targets)
    assert [samples.ground_truth[0].sum().item() for _, _, samples in seen.sampled] == [2] * 6
    assert [len(proposals) for _, proposals, _ in seen.sampled] == [1] * 6
    assert all(torch.equal(boxes, TRUTH) for _, boxes in seen.masked)


def test_losses_weigh_1_a_half_and_a_quarter(thin_scale) -> None:
    """With equal heads, equal samples and boxes that stay, stage losses differ by their weights alone."""
    heads = small(thin_scale)
    heads.samplers = heads.samplers[:1] * 3
    for stage in heads.box_stages:
        stage.load_state_dict(heads.box_stages[0].state_dict())
        move(stage, 0.0)
    for head in heads.mask_flow.heads:
        torch.nn.init.zeros_(head.predictor.weight)  # every mask pixel costs ln 2
    features, _, sizes, targets = inputs()
    losses = heads(features, [TRUTH + 2], sizes, targets)
    masks = [losses[f"loss_mask_{stage}"].item() / weight for stage, weight in ((1, 1), (2, 0.5), (3, 0.25))]
    assert masks == pytest.approx([torch.tensor(2.0).log().item()] * 3)
    boxes = [losses[f"loss_classifier_{stage}"].item() / weight for stage, weight in ((1, 1), (2, 0.5), (3, 0.25))]
    assert boxes == pytest.approx([boxes[0]] * 3, rel=1e-5)


def test_masks_of_a_stage_train_the_heads_before_it(thin_scale) -> None:
    heads = small(thin_scale)
    features, proposals, sizes, targets = inputs()
    losses = heads(features, proposals, sizes, targets)
    losses["loss_mask_2"].backward()
    with_gradient = [
        {name for name, p in head.named_parameters() if p.grad is not None and p.grad.any()}
        for head in heads.mask_flow.heads
    ]
    assert any(name.startswith("convs") for name in with_gradient[0])
    assert not any(name.startswith(("upsample", "predictor")) for name in with_gradient[0])
    assert with_gradient[1] and not with_gradient[2]


def test_the_score_is_the_softmax_of_the_mean_logits(thin_scale) -> None:
    heads = small(thin_scale).eval()
    biases = [torch.tensor([0.0, 3.0, 1.0]), torch.tensor([2.0, 0.0, 1.0]), torch.tensor([-5.0, 0.0, 4.0])]
    for stage, bias in zip(heads.box_stages, biases, strict=True):
        move(stage, 0.0)
        torch.nn.init.zeros_(stage.predictor.cls_score.weight)
        with torch.no_grad():
            stage.predictor.cls_score.bias.copy_(bias)
    features, _, sizes, _ = inputs()
    with torch.no_grad():
        (found,) = heads.box_inference(features, None, [TRUTH[:1]], sizes)
    expected = torch.stack(biases).mean(0).softmax(0)
    assert found["labels"].tolist() == [2, 1]
    assert torch.allclose(found["scores"], expected[[2, 1]])
    assert torch.allclose(found["boxes"], TRUTH[[0, 0]], atol=1e-4)


def test_inference_refines_three_times(thin_scale) -> None:
    heads = small(thin_scale).eval()
    for stage, x in zip(heads.box_stages, (0.25, 0.25, -0.125), strict=True):
        move(stage, x)
    features, _, sizes, _ = inputs()
    with torch.no_grad():
        (found,) = heads.box_inference(features, None, [TRUTH[:1]], sizes)
    assert torch.allclose(found["boxes"][0], torch.tensor([20.0, 8.0, 52.0, 40.0]), atol=1e-4)


def test_masks_are_the_mean_of_three_sigmoids(thin_scale) -> None:
    heads = small(thin_scale).eval()
    levels = torch.tensor([[-3.0, 1.0], [0.5, 2.0], [4.0, -1.0]])  # by stage and class
    for head, level in zip(heads.mask_flow.heads, levels, strict=True):
        torch.nn.init.zeros_(head.predictor.weight)
        with torch.no_grad():
            head.predictor.bias.copy_(level)
    features, _, _, _ = inputs()
    found = [{"boxes": TRUTH, "labels": torch.tensor([2, 1]), "scores": torch.ones(2)}]
    with torch.no_grad():
        masks = heads.mask_inference(features, None, found)[0]["masks"]
    expected = levels.sigmoid().mean(0)[[1, 0]]
    assert masks.shape == (2, 28, 28)
    assert torch.allclose(masks, expected[:, None, None].expand_as(masks))


def test_the_background_channel_is_skipped(thin_scale) -> None:
    heads = small(thin_scale, background_channels=True).eval()
    for head in heads.mask_flow.heads:
        torch.nn.init.zeros_(head.predictor.weight)
        with torch.no_grad():
            head.predictor.bias.copy_(torch.tensor([9.0, -2.0, 2.0]))
    features, proposals, sizes, targets = inputs()
    found = [{"boxes": TRUTH, "labels": torch.tensor([2, 1]), "scores": torch.ones(2)}]
    with torch.no_grad():
        masks = heads.mask_inference(features, None, found)[0]["masks"]
    assert masks.mean((1, 2)).tolist() == pytest.approx(torch.tensor([2.0, -2.0]).sigmoid().tolist())
    losses = heads.train()(features, proposals, sizes, targets)
    losses["loss_mask_1"].backward()
    gradient = heads.mask_flow.heads[0].predictor.bias.grad
    assert gradient[0] == 0 and gradient[1:].all()


def test_score_threshold(thin_scale, input_size) -> None:
    """HTC's configurations keep detections above 0.001; a scale may set another threshold."""
    arguments = {"num_classes": 2, "backbone": "resnet50", "input_size": input_size}
    assert htc.build(scale=thin_scale, **arguments).roi_heads.rule.score_threshold == 0.001
    changed = dataclasses.replace(thin_scale, score_threshold=0.3)
    assert htc.build(scale=changed, **arguments).roi_heads.rule.score_threshold == 0.3


def full(thin_scale, input_size, source: str):
    torch.manual_seed(0)
    return htc.build(
        num_classes=2, backbone="resnet50", scale=thin_scale, input_size=input_size, semantic_source=source
    )


@pytest.mark.parametrize("source", ["stuff", "from_instances"])
def test_trains_and_detects_with_a_semantic_branch(thin_scale, input_size, scene, source) -> None:
    model = full(thin_scale, input_size, source).train()
    images, targets = zip(*(scene(seed=seed) for seed in range(2)), strict=True)
    if source == "stuff":
        targets = [t | {"semantic": torch.where(t["masks"].any(0).bool(), 182, 255)} for t in targets]
    losses = model(list(images), list(targets))
    assert torch.isfinite(losses["loss_semantic"])
    sum(losses.values()).backward()
    branch = dict(model.roi_heads.semantic.named_parameters())
    assert [name for name, p in branch.items() if p.grad is None or not p.grad.any()] == []
    with torch.inference_mode():
        results = model.eval()(list(images))
    assert all(result["masks"].shape == (len(result["boxes"]), 64, 64) for result in results)


def test_the_embedding_reaches_boxes_and_masks_in_every_stage(thin_scale) -> None:
    heads = small(thin_scale, source="from_instances")
    features, proposals, sizes, targets = inputs()
    losses = heads(features, proposals, sizes, targets)
    weight = heads.semantic.embedding.weight
    for stage in (1, 2, 3):
        for part in ("classifier", "mask"):
            (gradient,) = torch.autograd.grad(losses[f"loss_{part}_{stage}"], weight, retain_graph=True)
            assert gradient.any(), f"loss_{part}_{stage}"


def test_the_embedding_is_added_to_what_boxes_read(thin_scale) -> None:
    heads = small(thin_scale, source="from_instances").eval()
    features, _, sizes, _ = inputs()
    with torch.no_grad():
        embedding, losses = heads.prepare(features, sizes, None)
        assert losses == {} and embedding.shape == (1, 32, 8, 8)
        flat = torch.full_like(embedding, 0.75)
        for read, plain in (
            (heads.box_features(features, flat, [TRUTH]), heads.box_pooler(features, [TRUTH])),
            (heads.mask_features(features, flat, [TRUTH]), heads.mask_pooler(features, [TRUTH])),
        ):
            assert torch.allclose(read, plain + 0.75, atol=1e-5)


@pytest.mark.parametrize("source", ["off", "from_instances"])
def test_images_without_instances_cost_nothing_in_boxes_and_masks(thin_scale, input_size, scene, source) -> None:
    model = full(thin_scale, input_size, source).train()
    image, target = scene()
    nothing = {key: target[key][:0] for key in ("boxes", "labels", "masks")}
    losses = model([image], [nothing])
    for stage in (1, 2, 3):
        assert losses[f"loss_mask_{stage}"] == 0 and losses[f"loss_box_reg_{stage}"] == 0
        assert losses[f"loss_classifier_{stage}"] > 0
    sum(losses.values()).backward()
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


def test_stages_without_positives_go_on(thin_scale) -> None:
    heads = small(dataclasses.replace(thin_scale, roi_batch=3))  # a quarter of three is none
    features, proposals, sizes, targets = inputs()
    seen = spy(heads)
    losses = heads(features, proposals, sizes, targets)
    assert all(len(boxes) == 0 for _, boxes in seen.masked)
    assert all(loss.isfinite() for loss in losses.values())
    assert all(losses[f"loss_mask_{stage}"] == 0 for stage in (1, 2, 3))
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in heads.parameters())


def test_no_detections_give_no_masks(thin_scale) -> None:
    heads = small(dataclasses.replace(thin_scale, score_threshold=1.0), source="from_instances").eval()
    features, proposals, sizes, _ = inputs()
    with torch.no_grad():
        context, _ = heads.prepare(features, sizes, None)
        found = heads.box_inference(features, context, proposals, sizes)
        (found,) = heads.mask_inference(features, context, found)
    assert len(found["boxes"]) == len(found["masks"]) == 0 and found["masks"].ndim == 3


def test_nonsense_is_refused(thin_scale, input_size) -> None:
    arguments = {"num_classes": 2, "backbone": "resnet50", "scale": thin_scale, "input_size": input_size}
    with pytest.raises(ValueError, match="semantic_source must be one of off, stuff, from_instances, not 'things'"):
        htc.build(**arguments, semantic_source="things")
