"""AML: formulas 1 to 3 by hand, and which of several instances a cell learns."""

import dataclasses
import math

import pytest
import torch

from reprolib.models.losses import squared_dice_loss
from reprolib.models.systems.solov2.solov2_losses import solov2_losses
from reprolib.models.systems.solov2.solov2_targets import Cells, CellTargets
from reprolib.papers.location_attention.minimum_loss import (
    aml_losses,
    joined,
    least_loss,
    mask_losses,
    matching_losses,
)
from reprolib.papers.location_attention.switches import Switches

UNBOUNDED = Switches(eps_clip=0)


def square(x: int, y: int, *, side: int = 4, size: tuple[int, int] = (16, 16)) -> torch.Tensor:
    mask = torch.zeros(size)
    mask[y : y + side, x : x + side] = 1
    return mask


def one(mask, wanted, switches=UNBOUNDED) -> float:
    return mask_losses(mask[None], wanted[None].bool(), switches=switches).item()


def test_the_mask_loss_by_hand():
    same = square(4, 4)
    assert one(same, same) == 0
    # Half of the 16 pixels in common, centroids 2 px apart: 1 - 17/33 + 4/9.
    assert one(same, square(6, 4)) == pytest.approx(1 - 17 / 33 + 4 / 9)
    # Nothing in common, 8 px apart: 1 - 1/33 + 64; the clip leaves 1 of it.
    assert one(same, square(12, 4)) == pytest.approx(1 - 1 / 33 + 64)
    assert one(same, square(12, 4), Switches()) == pytest.approx(1 - 1 / 33 + 1)
    # In shares of the map's 16 px: (2 / 16)^2 / 9.
    shares = Switches(eps_units="normalised", eps_clip=0)
    assert one(same, square(6, 4), shares) == pytest.approx(1 - 17 / 33 + 4 / 256 / 9)


def test_height_and_width_are_told_apart():
    same = square(0, 0, size=(8, 32))
    shares = Switches(eps_units="normalised", eps_clip=0)
    across = one(same, square(2, 0, size=(8, 32)), shares)
    down = one(same, square(0, 2, size=(8, 32)), shares)
    assert across == pytest.approx(1 - 17 / 33 + (2 / 32) ** 2 / 9)
    assert down == pytest.approx(1 - 17 / 33 + (2 / 8) ** 2 / 9)


def test_epsilon_hardly_depends_on_the_scale():
    """Pixels squared over pixels: only the 1 of the denominator does not scale."""
    small = one(square(4, 4), square(6, 4))
    large = one(square(8, 8, side=8, size=(32, 32)), square(12, 8, side=8, size=(32, 32)))
    assert large - (1 - 65 / 129) == pytest.approx(16 / 33)
    assert small - (1 - 17 / 33) == pytest.approx(4 / 9)


@pytest.mark.parametrize("wanted", [torch.zeros(16, 16), square(4, 4)])
def test_empty_masks_have_no_offset(wanted):
    empty = torch.zeros(16, 16, requires_grad=True)
    loss = mask_losses(empty[None], wanted[None].bool(), switches=UNBOUNDED)
    loss.sum().backward()
    assert loss.item() == pytest.approx(1 - 1 / (wanted.sum().item() + 1)) and empty.grad.isfinite().all()


def test_a_clipped_epsilon_pulls_nothing():
    """The gradient of pixels outside the wanted mask is that of the dice part alone."""
    mask = (0.5 * square(0, 0)).requires_grad_()
    far = square(12, 12)[None].bool()
    mask_losses(mask[None], far, switches=Switches()).sum().backward()
    clipped, mask.grad = mask.grad[~far[0]], None
    torch.testing.assert_close(clipped, torch.full_like(clipped, 1 / (8 + 16 + 1) ** 2))
    mask_losses(mask[None], far, switches=UNBOUNDED).sum().backward()
    assert mask.grad[~far[0]].abs().max() > 1


def two_centres(*, logits=(0.0, 0.0), places=1) -> tuple[CellTargets, Cells]:
    """Instances of classes 1 and 2 with centres in cell 1 of three; that cell's mask is the first's.

    The mask feature has a channel for each instance, of logits 10 inside and -10 outside.
    """
    masks = torch.stack([square(2, 2), square(8, 8)])
    candidates = torch.tensor([[True, True, False], [False, True, False]])
    kernels = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    categories = torch.tensor([[0.0, 0.0], list(logits), [0.0, 0.0]])
    wanted = CellTargets(candidates=candidates, labels=torch.tensor([1, 2]), masks=masks.bool())
    return wanted, Cells(categories=categories, kernels=kernels, mask_feature=20 * masks - 10)


def test_a_cell_of_two_centres_learns_the_object_of_less_loss():
    wanted, cells = two_centres()
    chosen = least_loss(wanted, cells, switches=Switches())
    assert chosen.tolist() == [[True, True, False], [False, False, False]]
    # The later object is as good as the earlier one: with its kernel the cell learns it.
    cells = cells._replace(kernels=cells.kernels.flip(1))
    chosen = least_loss(wanted, cells, switches=Switches())
    assert chosen.tolist() == [[True, False, False], [False, True, False]]
    assert wanted.candidates.sum() == 3  # left as they were


def test_losses_of_the_two_by_hand():
    wanted, cells = two_centres(logits=(2.0, -1.0))
    (found,) = matching_losses(wanted, cells, torch.tensor([1]), switches=UNBOUNDED)

    def focal(logit: float, wanted: bool) -> float:
        p = 1 / (1 + math.exp(-logit))
        return -0.25 * (1 - p) ** 2 * math.log(p) if wanted else -0.75 * p**2 * math.log(1 - p)

    category = [focal(2.0, True) + focal(-1.0, False), focal(2.0, False) + focal(-1.0, True)]
    # The mask is the first's, six px from the second in x and in y, with no pixel in common.
    mask = [0, 1 - 1 / 33 + 72]
    expected = [1 / (1 + math.exp(-a)) + 1 / (1 + math.exp(-3 * b)) for a, b in zip(category, mask, strict=True)]
    assert found.tolist() == pytest.approx(expected, abs=2e-3)


def test_the_category_decides_between_equal_masks():
    wanted, cells = two_centres(logits=(-3.0, 3.0))
    cells = cells._replace(kernels=torch.zeros(3, 2))
    assert least_loss(wanted, cells, switches=Switches())[:, 1].tolist() == [False, True]


def test_the_sum_of_sigmoids_can_rank_otherwise():
    """Category losses 0.1 and 2, three times the mask losses 6 and 4: 0.525 + 0.998 against 0.881 + 0.982."""
    category, mask = torch.tensor([0.1, 2.0]), torch.tensor([6.2, 4.0]) / 3
    assert joined(category, mask, form="sigmoid").argmin() == 0
    assert joined(category, mask, form="linear").argmin() == 1


def test_cells_of_one_object_are_left_alone():
    wanted, cells = two_centres()
    single = wanted._replace(candidates=torch.tensor([[True, False, False], [False, True, True]]))
    nothing = wanted._replace(candidates=torch.zeros(0, 3, dtype=torch.bool), labels=wanted.labels[:0])
    for each in (single, nothing):
        assert torch.equal(least_loss(each, cells, switches=Switches()), each.candidates)


def test_matching_is_in_full_precision():
    wanted, cells = two_centres()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = matching_losses(wanted, cells, torch.tensor([1]), switches=Switches())
    assert found.dtype == torch.float32
    assert torch.equal(found, matching_losses(wanted, cells, torch.tensor([1]), switches=Switches()))


def batch(*, positives=3):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(10, 4, generator=generator, requires_grad=True)
    labels = torch.tensor([1, 3, 2] + [0] * 7)[torch.arange(10)] * (torch.arange(10) < positives)
    masks = torch.rand(positives, 16, 16, generator=generator, requires_grad=True)
    return logits, labels, masks, torch.stack([square(k, 3) for k in range(3)]).bool()[:positives]


@pytest.mark.parametrize("positives", [0, 3])
@pytest.mark.parametrize("scale", [0.0, 1.0, 100.0])
def test_the_sigmoid_form_lies_between_one_and_two(positives, scale):
    logits, labels, masks, wanted = batch(positives=positives)
    losses = aml_losses(scale * logits, labels, masks, wanted, switches=Switches(aml_train="sigmoid"))
    assert 1 <= sum(losses.values()) < 2 or scale == 100.0  # rounded to 2 in float32
    assert sum(losses.values()) <= 2


def test_the_sigmoid_form_is_that_of_the_linear_one():
    linear = aml_losses(*batch(), switches=Switches())
    sigmoid = aml_losses(*batch(), switches=Switches(aml_train="sigmoid"))
    for name, loss in linear.items():
        torch.testing.assert_close(sigmoid[name], loss.sigmoid())


def test_formula_one_takes_the_place_of_dice():
    logits, labels, masks, wanted = batch()
    paper = aml_losses(logits, labels, masks, wanted, switches=Switches())
    solov2 = aml_losses(logits, labels, masks, wanted, switches=Switches(aml_dice="solov2"))
    theirs = solov2_losses(logits, labels, masks, wanted)
    assert solov2["loss_mask"] == theirs["loss_mask"] == 3 * squared_dice_loss(masks, wanted, epsilon=1e-3).mean()
    assert solov2["loss_category"] == paper["loss_category"] == theirs["loss_category"]
    torch.testing.assert_close(
        paper["loss_mask"], 3 * mask_losses(masks, wanted, switches=Switches()).mean(), rtol=0, atol=0
    )


def test_gradients_reach_the_masks():
    for switches in (Switches(), Switches(aml_train="sigmoid"), dataclasses.replace(UNBOUNDED, aml_dice="solov2")):
        logits, labels, masks, wanted = batch()
        sum(aml_losses(logits, labels, masks, wanted, switches=switches).values()).backward()
        assert logits.grad.abs().min() > 0 and masks.grad.abs().max() > 0 and masks.grad.isfinite().all()
