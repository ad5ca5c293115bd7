"""The parts of Insight Any Instance one by one: tokens, crops, LPM, GPM, fusion, area loss, moved boxes."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import box_iou

from reprolib.models.input_transform import Batch
from reprolib.models.two_stage.box_stage import plain_box_stage
from reprolib.models.two_stage.region_proposals import region_proposals
from reprolib.models.two_stage.samples import Samples
from reprolib.papers.insight_any_instance.area_loss import AreaAwareBoxStage, AreaLoss
from reprolib.papers.insight_any_instance.global_prompts import GlobalPrompts
from reprolib.papers.insight_any_instance.gt_prompts import PromptSampler, choose, move
from reprolib.papers.insight_any_instance.local_prompts import LearnedSpectrum, LocalPrompts
from reprolib.papers.insight_any_instance.prompted_pooler import Fusion
from reprolib.papers.insight_any_instance.switches import Switches
from reprolib.papers.insight_any_instance.tokens import TransformerLayer, as_grid, crop, places
from reprolib.params import Scale

C = 16


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def crops(count: int = 3) -> torch.Tensor:
    return torch.randn(count, 3, 28, 28)


# --- tokens and crops


def test_a_transformer_layer_is_torchs() -> None:
    """8 heads at the published width, heads as wide in a thin network."""
    assert TransformerLayer(256).heads == 8 and TransformerLayer(48).heads == 1
    ours = TransformerLayer(64)
    theirs = nn.TransformerEncoderLayer(64, 2, 256, 0.0, "gelu", batch_first=True, norm_first=True)
    for parameter in ours.parameters():
        nn.init.normal_(parameter, std=0.2)
    own = {
        "self_attn.in_proj_": ours.qkv,
        "self_attn.out_proj.": ours.project,
        "linear1.": ours.widen,
        "linear2.": ours.narrow,
        "norm1.": ours.norm1,
        "norm2.": ours.norm2,
    }
    state = {name + kind: getattr(layer, kind) for name, layer in own.items() for kind in ("weight", "bias")}
    theirs.load_state_dict(state)
    tokens = torch.randn(2, 10, 64)
    torch.testing.assert_close(ours(tokens), theirs(tokens), rtol=1e-4, atol=1e-4)


def test_places_are_sines_of_row_and_column() -> None:
    found = places(3, 5, 8, device=torch.device("cpu"))
    row, column = 2, 3
    rates = (1.0, 0.01)
    expected = [f(at * rate) for at in (row, column) for f in (math.sin, math.cos) for rate in rates]
    torch.testing.assert_close(found[row * 5 + column], torch.tensor(expected))
    assert len(found.unique(dim=0)) == 15


def test_a_grid_of_tokens_is_brought_to_14() -> None:
    for side in (7, 14, 28, 56):
        tokens = torch.arange(side**2.0)[None, :, None]
        grid = as_grid(tokens)
        assert grid.shape == (1, 1, 14, 14)
        torch.testing.assert_close(grid.mean(), tokens.mean())
        assert grid[0, 0, 0, 0] < grid[0, 0, 0, 13] < grid[0, 0, 13, 0]  # row by row


@pytest.mark.parametrize("op", ["roi_align", "bilinear_resize"])
def test_a_crop_is_what_the_box_shows(op) -> None:
    """A ramp is resized to a ramp of the box's own values, at pixel centres."""
    ramp = torch.arange(40.0).expand(3, 30, 40)
    images = torch.stack([torch.zeros(3, 30, 40), ramp])
    boxes = [torch.zeros(0, 4), torch.tensor([[4.0, 6, 32, 20], [8, 2, 22, 30]])]
    wide, narrow = crop(images, boxes, size=28, op=op)
    torch.testing.assert_close(wide, torch.arange(4.0, 32).expand(3, 28, 28))
    inner = torch.arange(28) / 2 + 8 - 0.25
    torch.testing.assert_close(narrow[:, :, 1:-1], inner[1:-1].expand(3, 28, -1))
    assert crop(images, [boxes[0]] * 2, size=28, op=op).shape == (0, 3, 28, 28)


def test_a_box_without_whole_pixels_has_a_crop() -> None:
    image = torch.rand(1, 3, 20, 20)
    for box in ([19.2, 3.1, 19.6, 3.4], [19.99, 19.99, 20, 20], [20.0, 20.0, 20.0, 20.0]):
        found = crop(image, [torch.tensor([box])], size=14, op="bilinear_resize")
        assert found.shape == (1, 3, 14, 14) and found.isfinite().all()


# --- LPM


def test_adding_in_the_spectrum_adds_one_picture_to_every_crop() -> None:
    """Literal LPM, and why it can carry nothing about the crop: spread over crops below 1e-5. A filter can."""
    add, multiply = (LearnedSpectrum(28, operation=name) for name in ("add", "multiply"))
    shown = crops(6)
    nn.init.normal_(add.weight)
    with torch.no_grad():
        multiply.weight.add_(torch.randn_like(multiply.weight))
    added, filtered = (one(shown) - shown for one in (add, multiply))
    assert added.abs().mean() > 0.1
    assert added.std(0).max() < 1e-5
    assert filtered.std(0).min() > 1e-2


def test_multiplying_in_the_spectrum_is_a_circular_convolution() -> None:
    spectrum = LearnedSpectrum(28, operation="multiply")
    kernel, shown = torch.zeros(3, 28, 28), crops(2)
    kernel[:, 0, 0], kernel[:, 2, 5] = 0.5, -1.0
    with torch.no_grad():
        spectrum.weight.copy_(torch.view_as_real(torch.fft.rfft2(kernel)))
    torch.testing.assert_close(spectrum(shown), 0.5 * shown - shown.roll((2, 5), (2, 3)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("operation", ["add", "multiply"])
def test_a_spectrum_starts_as_the_identity(operation) -> None:
    spectrum, shown = LearnedSpectrum(28, operation=operation), crops()
    torch.testing.assert_close(spectrum(shown), shown)
    assert spectrum(shown[:0]).shape == (0, 3, 28, 28)
    spectrum(shown[:0]).sum().backward()
    assert not spectrum.weight.grad.any()


def test_with_a_zero_embedding_both_streams_read_the_raw_crop() -> None:
    prompts, shown = LocalPrompts(C, switches=Switches()), crops()
    spatial, frequency = prompts.streams(shown)
    for number, stream in enumerate((spatial, frequency)):
        torch.testing.assert_close(stream, prompts.patches[number](shown) + prompts.positions[number])
    assert not torch.allclose(spatial, frequency)  # each with its own convolution


def test_patches_overlap_and_go_row_by_row() -> None:
    prompts = LocalPrompts(C, switches=Switches())
    shown = torch.zeros(1, 3, 28, 28)
    base = prompts.patches[0](shown)
    shown[:, :, 10, 14] = 1
    touched = (prompts.patches[0](shown) != base).any(2)[0].nonzero().flatten().tolist()
    # Patches of 7 around every second pixel: rows 10-3..10+3 and columns 14-3..14+3 in steps of 2.
    assert touched == [row * 14 + column for row in (4, 5, 6) for column in (6, 7, 8)]


@pytest.mark.parametrize("mixer", ["transformer", "mlp"])
def test_only_attention_carries_across_tokens(mixer) -> None:
    prompts = LocalPrompts(C, switches=Switches(lpm_mixer=mixer)).eval()
    shown = crops(1)
    changed = shown.clone()
    changed[:, :, :8, :8] += 1
    difference = (prompts(shown) - prompts(changed)).abs().amax(1)[0]
    assert difference[0, 0] > 1e-3
    assert (difference[10:, 10:] > 1e-7).any() == (mixer == "transformer")


# --- GPM


def test_a_box_asks_its_own_image_and_no_other_box() -> None:
    prompts = GlobalPrompts(C, switches=Switches())
    images, shown = torch.randn(2, 3, 64, 96), crops(5)
    with torch.no_grad():
        tokens = prompts.encode(images, [(64, 96), (60, 50)])
        together = prompts(shown, tokens, [3, 2])
        for row, image in enumerate((0, 0, 0, 1, 1)):
            alone = prompts(shown[row : row + 1], [tokens[image]], [1])
            torch.testing.assert_close(alone[0], together[row], rtol=1e-4, atol=1e-5)
        swapped = prompts(shown, tokens[::-1], [3, 2])
    assert (swapped - together).abs().amax((1, 2, 3)).min() > 1e-4
    assert [one[0].shape for one in tokens] == [(1, 24, C), (1, 16, C)]


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("residual", [True, False])
def test_the_answer_is_softmax_of_products_over_the_root_of_the_width(residual, norm) -> None:
    """Eq. 5 by hand, single head and without projections, in every loop."""
    prompts = GlobalPrompts(C, switches=Switches(g2l_residual=residual, g2l_norm=norm))
    image, shown = torch.randn(1, 3, 32, 48), crops(2)
    with torch.no_grad():
        found = prompts(shown, prompts.encode(image, [(32, 48)]), [2])
        tokens = prompts.global_patches(image) + places(2, 3, C, device=image.device)
        local = prompts.local_patches(shown) + places(14, 14, C, device=image.device)
        for loop in range(3):
            tokens, local = prompts.global_layers[loop](tokens), prompts.local_layers[loop](local)
            asking, asked = (F.layer_norm(one, (C,)) if norm else one for one in (local, tokens))
            answer = (asking @ asked.transpose(1, 2) / C**0.5).softmax(-1) @ asked
            local = local + answer if residual else answer
    torch.testing.assert_close(found, local.transpose(1, 2).reshape(2, C, 14, 14), rtol=1e-4, atol=1e-5)


# --- fusion


def test_fusion_joins_or_adds_at_the_size_of_the_features() -> None:
    prompts = torch.randn(2, C, 14, 14)
    for side in (14, 7):
        roi = torch.randn(2, C, side, side)
        shown = prompts if side == 14 else None
        joined, added = Fusion(C, concat=True), Fusion(C, concat=False)
        assert joined(prompts, roi).shape == added(prompts, roi).shape == roi.shape
        own = F.gelu(added.project(prompts))
        own = own if shown is not None else F.avg_pool2d(own, 2)
        torch.testing.assert_close(added(prompts, roi) - roi, own, rtol=1e-4, atol=1e-5)


# --- PAreaLoss


def area(**changes) -> AreaLoss:
    return AreaLoss(**{"match_all": False, "iou": 0.5, "weight": 1.0, "trains": True} | changes)


def target(*boxes) -> dict:
    return {"boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)}


def test_the_area_loss_of_one_pair_by_hand() -> None:
    """12 x 12 against 10 x 10: ((144 - 100) / 100)^2."""
    box, truth = torch.tensor([[0.0, 0, 12, 12]]), target([0, 0, 10, 10])
    torch.testing.assert_close(area()([box], [truth])["loss_parea"], torch.tensor(0.1936), rtol=1e-5, atol=0)
    torch.testing.assert_close(area(weight=0.5)([box], [truth])["loss_parea"], torch.tensor(0.0968), rtol=1e-5, atol=0)


def test_the_area_loss_is_zero_where_areas_are_equal_whatever_the_shape() -> None:
    box, truth = torch.tensor([[0.0, 0, 20, 5], [3, 3, 13, 13]]), target([0, 0, 10, 10])
    assert area(match_all=True)([box], [truth])["loss_parea"] < 1e-12


def test_a_matched_box_costs_at_most_1_and_a_too_small_one_a_quarter() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.tensor([[100.0, 100, 140, 130]])
    boxes = truth + torch.randn((200_000, 4), generator=generator) * 12
    boxes = boxes[(boxes[:, 2:] > boxes[:, :2]).all(1)]
    costs = area().costs(boxes, truth)
    assert 10_000 < len(costs) == (box_iou(boxes, truth) >= 0.5).sum()
    assert 0.5 < costs.max() <= 1
    smaller = boxes[(boxes[:, 2:] - boxes[:, :2]).prod(1) < 1200]
    assert 0.2 < area().costs(smaller, truth).max() <= 0.25
    # The literal reading has no bound.
    assert AreaLoss(match_all=True, iou=0.5, weight=1, trains=True).costs(
        torch.tensor([[0.0, 0, 512, 512]]), torch.tensor([[600.0, 600, 610, 610]])
    ) == pytest.approx(6.87e6, rel=0.01)


def test_the_mean_is_over_the_matched_boxes_of_the_batch() -> None:
    first = torch.tensor([[0.0, 0, 12, 12], [50, 50, 60, 60]])  # the second meets nothing
    second = torch.tensor([[0.0, 0, 10, 10]])
    both = area()([first, second], [target([0, 0, 10, 10]), target([0, 0, 10, 10])])["loss_parea"]
    torch.testing.assert_close(both, torch.tensor(0.1936 / 2), rtol=1e-5, atol=0)


def test_nothing_matched_costs_nothing_and_stays_in_the_graph() -> None:
    box = torch.tensor([[0.0, 0, 12, 12]], requires_grad=True)
    for truth in (target(), target([50, 50, 60, 60])):
        loss = area()([box], [truth])["loss_parea"]
        loss.backward()
        assert loss == 0 and not box.grad.any()


@pytest.fixture
def proposals(monkeypatch):
    """An RPN with the area loss, what it gave the loss, its proposals, and the gradient of its deltas' layer."""

    def run(**changes):
        given = []

        class Watching(AreaLoss):
            def __call__(self, boxes, targets):
                given.extend(boxes)
                return super().__call__(boxes, targets)

        scale = Scale(channels=8, anchor_sizes=(16, 32, 64, 128, 256), rpn_pre_nms=(400, 400), rpn_post_nms=(200, 200))
        loss = Watching(**{"match_all": False, "iou": 0.5, "weight": 1.0, "trains": True} | changes)
        torch.manual_seed(0)
        rpn = region_proposals(scale, dialect="mm", proposal_loss=loss).train()
        for parameter in rpn.head.parameters():
            nn.init.normal_(parameter, std=0.03)
        features = [torch.randn(2, 8, side, side) for side in (32, 16, 8, 4, 2)]
        batch = Batch(
            tensors=torch.zeros(2, 3, 128, 128), image_sizes=[(128, 128), (100, 120)], original_sizes=[(128, 128)] * 2
        )
        targets = [target([10, 10, 40, 34], [60, 70, 80, 88]), target([30, 30, 94, 90])]
        found, losses = rpn(batch, features, targets)
        (gradient,) = (
            torch.autograd.grad(losses["loss_parea"], rpn.head.bbox_pred.weight, allow_unused=True)
            if losses["loss_parea"].requires_grad
            else (None,)
        )
        return found, losses, given, gradient

    return run


def test_the_loss_sees_the_proposals_themselves(proposals) -> None:
    found, losses, given, gradient = proposals()
    assert losses.keys() == {"loss_objectness", "loss_rpn_box_reg", "loss_parea"}
    for mine, theirs in zip(given, found, strict=True):
        assert len(mine) > 5 and torch.equal(mine, theirs)
        assert mine.requires_grad and not theirs.requires_grad
    assert 0 < losses["loss_parea"] <= 1
    # Anchors x (dx, dy, dw, dh): only the sizes learn, but for boxes that the border cuts.
    by_delta = gradient.abs().sum((1, 2, 3)).view(-1, 4).sum(0)
    assert (by_delta[2:] > 1e-4).all()


def test_the_gradient_can_be_left_out(proposals) -> None:
    _, losses, _, gradient = proposals(trains=False)
    assert losses["loss_parea"] > 0 and gradient is None


def test_the_loss_on_the_box_heads_boxes(thin_samples) -> None:
    stage, logits, deltas, samples, targets = thin_samples
    aware = AreaAwareBoxStage(stage, area_loss=area())
    losses = aware.losses(logits, deltas, samples, targets)
    plain = stage.losses(logits, deltas, samples, targets)
    assert losses.keys() == plain.keys() | {"loss_parea"}
    assert all(torch.equal(losses[name], plain[name]) for name in plain)
    # Deltas of zero leave the boxes where they are: 12 x 12 against 10 x 10, the background box meets nothing.
    torch.testing.assert_close(losses["loss_parea"], torch.tensor(0.1936), rtol=1e-4, atol=0)
    losses["loss_parea"].backward()
    touched = deltas.grad.abs().sum(2) > 0
    assert touched.tolist() == [[False, True, False], [False, False, False]]  # box 0 as its class, 2


@pytest.fixture
def thin_samples():
    stage = plain_box_stage(num_classes=3, scale=Scale(channels=8, box_hidden=8), dialect="mm")
    boxes = torch.tensor([[0.0, 0, 12, 12], [50, 50, 60, 60]])
    samples = Samples([boxes], [torch.tensor([2, 0])], [torch.tensor([0, 0])], [torch.zeros(2, dtype=torch.bool)])
    return stage, torch.randn(2, 4), torch.zeros(2, 3, 4, requires_grad=True), samples, [target([0, 0, 10, 10])]


# --- prompts from instances


def test_every_image_has_a_prompt_and_about_half_of_many() -> None:
    device = torch.device("cpu")
    assert choose(0, 0.5, device=device).tolist() == []
    assert all(choose(3, 0.0, device=device).sum() == 1 for _ in range(20))
    assert choose(5, 1.0, device=device).all()
    assert 0.45 < choose(10_000, 0.5, device=device).float().mean() < 0.55


def test_moved_boxes_stay_about_themselves_and_inside() -> None:
    boxes = torch.tensor([[0.0, 0, 40, 30], [50, 60, 70, 100]]).repeat(400, 1)
    moved = move(boxes, 0.1, size=(100, 90))
    assert len(moved) == len(boxes)  # a tenth of the sides keeps IoU 0.64
    shift = (moved - boxes) / torch.tensor([[40.0, 30, 40, 30], [20, 40, 20, 40]]).repeat(400, 1)
    assert shift.abs().max() <= 0.1 + 1e-6 and (shift[1::2, :3].std(0) > 0.05).all()
    assert (moved >= 0).all() and (moved[:, 2] <= 90).all() and (moved[:, 3] <= 100).all()
    assert (moved[::2, :2].min(0).values == 0).all() and (moved[1::2, 3] == 100).any()
    assert torch.equal(move(boxes, 0.0, size=(100, 90)), boxes)


def test_moved_boxes_are_a_pixel_and_half_their_own_or_left_out() -> None:
    tiny = torch.tensor([[5.0, 5, 6, 6], [89.5, 99.5, 90, 100]]).repeat(500, 1)
    moved = move(tiny, 0.4, size=(100, 90))
    assert 0 < len(moved) < len(tiny)
    sides = moved[:, 2:] - moved[:, :2]
    assert (sides >= 1 - 1e-4).all() and (moved[:, 2:] <= torch.tensor([90.0, 100.0])).all()


@pytest.mark.parametrize("clean", [False, True])
def test_prompts_take_the_place_of_the_instances_own_boxes(clean) -> None:
    sampler = PromptSampler(iou=0.5, batch=64, switches=Switches(append_clean_gt=clean, gt_prompt_frac=1.0))
    truth = {
        "boxes": torch.tensor([[10.0, 10, 40, 34], [60, 70, 80, 88]]),
        "labels": torch.tensor([1, 2]),
        "masks": torch.zeros(2, 200, 200, dtype=torch.uint8),
        "to_original": (2.0, 2.0),
    }
    nowhere = {key: value[:0] if isinstance(value, torch.Tensor) else value for key, value in truth.items()}
    proposals = torch.tensor([[0.0, 60, 20, 90]])
    samples = sampler([proposals, proposals], [truth, nowhere])
    given = samples.boxes[0][samples.ground_truth[0]]
    assert len(given) == (4 if clean else 2) and not samples.ground_truth[1].any()
    assert samples.labels[0][samples.ground_truth[0]].tolist() == [1, 2] * (1 + clean)
    own = box_iou(given, truth["boxes"]).amax(1)
    assert (own[:2] < 1).all() and (own[:2] > 0.6).all() and (own[2:] == 1).all()
    assert torch.equal(samples.boxes[0][~samples.ground_truth[0]], proposals)
