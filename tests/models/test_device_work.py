"""What is done otherwise so that a GPU's host need not wait gives what the plain way gives; a step waits so often."""

from __future__ import annotations

import importlib

import pytest
import torch
import torch.nn.functional as F
from torchvision.models.detection import _utils
from torchvision.ops import batched_nms, generalized_box_iou_loss

from benchmarks.host_waits import count_waits
from reprolib.models.detections import class_nms
from reprolib.models.two_stage.box_coder import BoxCoder
from reprolib.models.two_stage.mask_iou_head import visible_share
from reprolib.models.two_stage.mask_targets import cut_masks
from reprolib.models.two_stage.paste import paste_masks
from reprolib.models.two_stage.region_proposals import region_proposals
from reprolib.models.two_stage.samples import Matcher, draw
from reprolib.papers.seanet.box_losses import paired_giou


def some_boxes(count: int, *, seed: int, side: float = 64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand((count, 2), generator=generator) * side * 0.7
    return torch.cat([low, low + 1 + torch.rand((count, 2), generator=generator) * side * 0.3], dim=1)


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0), (1 / 0.033, 1 / 0.034, 15.0, 14.0)])
@pytest.mark.parametrize("count", [0, 50])
def test_the_box_coder_is_torchvisions_to_the_bit(weights, count):
    ours, theirs = BoxCoder(weights), _utils.BoxCoder(weights)
    boxes, origins = some_boxes(count, seed=0), some_boxes(count, seed=1)
    assert torch.equal(ours.encode(boxes, origins), theirs.encode_single(boxes, origins))
    deltas = torch.randn(count, 4, generator=torch.Generator().manual_seed(2)) * 20  # some beyond the largest
    assert torch.equal(ours.decode(deltas, origins), theirs.decode_single(deltas, origins))


def test_the_sampler_draws_what_torchvisions_draws():
    generator = torch.Generator().manual_seed(0)
    labels = [torch.randint(-1, 3, (90,), generator=generator).float(), torch.zeros(5), torch.ones(40), torch.zeros(0)]
    for batch, share in ((64, 0.5), (16, 0.25)):
        torch.manual_seed(1)
        masks = zip(*_utils.BalancedPositiveNegativeSampler(batch, share)(labels), strict=True)
        torch.manual_seed(1)
        for rows, expected in zip(draw(labels, batch=batch, positive=share), masks, strict=True):
            for one, mask in zip(rows, expected, strict=True):
                assert torch.equal(one, torch.where(mask)[0])


def test_the_matcher_is_torchvisions():
    quality = (torch.rand((6, 200), generator=torch.Generator().manual_seed(0)) * 20).round() / 20  # with ties
    for low in (True, False):
        ours, theirs = (kind(0.9, 0.3, allow_low_quality_matches=low) for kind in (Matcher, _utils.Matcher))
        assert torch.equal(ours(quality), theirs(quality))


def test_proposal_losses_are_those_over_boolean_masks(thin_scale):
    rpn = region_proposals(thin_scale, dialect="mm")
    generator = torch.Generator().manual_seed(0)
    anchors = [some_boxes(300, seed=1)] * 3
    logits, deltas = torch.randn((3, 300), generator=generator), torch.randn((3, 300, 4), generator=generator)
    logits.requires_grad_(), deltas.requires_grad_()
    targets = [{"boxes": some_boxes(count, seed=2)} for count in (3, 0, 5)]
    torch.manual_seed(3)
    losses = rpn._losses(logits, deltas, anchors, targets)
    found = torch.autograd.grad(sum(losses.values()), (logits, deltas))

    torch.manual_seed(3)
    labels, matched = rpn.assign_targets_to_anchors(anchors, targets)
    positive, negative = (torch.stack(mask).bool() for mask in rpn.fg_bg_sampler(labels))
    sampled = positive | negative
    wanted = rpn.box_coder.encode(torch.stack(matched)[positive], torch.stack(anchors)[positive])
    box_loss = F.smooth_l1_loss(deltas[positive], wanted, beta=rpn.beta, reduction="sum") / sampled.sum()
    objectness = F.binary_cross_entropy_with_logits(logits[sampled], torch.stack(labels)[sampled])
    expected = torch.autograd.grad(box_loss + objectness, (logits, deltas))
    torch.testing.assert_close(losses, {"loss_objectness": objectness, "loss_rpn_box_reg": box_loss})
    torch.testing.assert_close(found, expected)
    assert positive.sum() > 5 and not positive[1].any()


def test_giou_and_its_gradient_are_torchvisions():
    boxes = torch.cat([some_boxes(60, seed=0), torch.tensor([[0.0, 0, 4, 4], [5, 5, 9, 9], [3, 3, 3, 3]])])
    others = torch.cat([some_boxes(60, seed=1), torch.tensor([[4.0, 0, 8, 4], [5, 5, 9, 9], [3, 3, 3, 3]])])
    ours, theirs = boxes.clone().requires_grad_(), boxes.clone().requires_grad_()
    giou, expected = paired_giou(ours, others), 1 - generalized_box_iou_loss(theirs, others)
    torch.testing.assert_close(giou, expected, rtol=1e-5, atol=1e-6)
    giou.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_gpus_ways_give_what_the_cpus_give():
    generator = torch.Generator().manual_seed(0)
    masks = (torch.rand((4, 64, 80), generator=generator) > 0.4).to(torch.uint8)
    boxes, matched = some_boxes(20, seed=1), torch.randint(4, (20,), generator=generator)
    predicted = torch.rand((20, 28, 28), generator=generator)
    outside = torch.cat([boxes[:10], boxes[10:] * 1.7 - 25])  # some across the border, some beyond it
    scores = torch.rand(20, generator=generator)
    results = [
        lambda: cut_masks(masks, boxes, matched, size=28, aligned=True, binary=False),
        lambda: visible_share(masks, boxes, matched),
        lambda: paste_masks(predicted, outside, (64, 80)),
        lambda: class_nms(boxes, scores, matched, 0.3),
        lambda: class_nms(boxes[:0], scores[:0], matched[:0], 0.3),
        lambda: paste_masks(predicted[:0], outside[:0], (64, 80)),
    ]
    expected = [result() for result in results]
    with count_waits() as seen:
        found = [result() for result in results]
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)
    assert expected[2].any() and len(expected[3]) < 20
    assert torch.equal(expected[3], batched_nms(boxes, scores, matched, 0.3))
    assert sum(seen.values()) == 1, seen  # the NMS of boxes


# System -> waits of a training step, of the batch and for each image. Those that stay: the number of boxes that NMS
# leaves, for each image; the numbers of large enough proposals, of positives among anchors and RoIs, and of RoIs on
# each level of the pyramid, once a batch (in a cascade once a stage).
MAI = {"components": ("aspp", "nlb", "csab", "carafeb", "fbo", "gcb"), "backbone": "resnet101"}
BUDGET = {
    "reprolib.models.systems.mask_rcnn.model": ({}, 5, 1),
    "reprolib.models.systems.cascade_mask_rcnn.model": ({}, 14, 1),
    "reprolib.models.systems.htc.model": ({}, 17, 1),
    "reprolib.models.systems.solov2.model": ({}, 1, 0),
    "reprolib.papers.iemask_rcnn.model": ({"components": ("cem", "gim", "bottomup", "aff", "encdechead")}, 5, 1),
    "reprolib.papers.mai_se_net.model": (MAI, 17, 1),
    "reprolib.papers.seanet.model": ({"components": ("biou", "attention", "edge")}, 4, 1),
    "reprolib.papers.insight_any_instance.model": ({"components": ("lpm", "gpm", "parea")}, 6, 5),
    "reprolib.papers.location_attention.model": ({"components": ("cspam", "twfpn+csmf", "aml")}, 1, 1),
}


@pytest.mark.parametrize("module", BUDGET)
def test_a_training_step_waits_no_more_often_than_it_must(module, thin_scale, input_size, scene):
    switches, of_batch, of_image = BUDGET[module]
    torch.manual_seed(0)
    model = (
        importlib.import_module(module)
        .build(num_classes=2, scale=thin_scale, input_size=input_size, **({"backbone": "resnet50"} | switches))
        .train()
    )
    for count in (1, 2):
        images, targets = zip(*(scene(128, 128, seed=seed) for seed in range(count)), strict=True)
        with count_waits() as seen:
            sum(model(list(images), list(targets)).values()).backward()
        assert sum(seen.values()) <= of_batch + of_image * count, seen
