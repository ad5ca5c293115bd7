"""Box2Mask-C: counts, losses of masks from boxes by hand, the filter along a spanning tree against a loop."""

from __future__ import annotations

import math

import pytest
import torch

from reprolib.evaluation.cost import count_parameters, on_meta
from reprolib.models.input_transform import InputSize
from reprolib.models.systems.box2mask import box2mask_head
from reprolib.models.systems.box2mask import model as box2mask
from reprolib.models.systems.box2mask.box2mask_head import filtered_maps
from reprolib.models.systems.box2mask.box_supervision import (
    affinity,
    box_masks,
    consistency_loss,
    level_set_energy,
    projection_loss,
)
from reprolib.models.systems.box2mask.tree_filter import edge_weights, spanning_tree, tree_filter
from reprolib.params import Scale


def published(backbone="resnet50", num_classes=80, **switches):
    arguments = {"num_classes": num_classes, "backbone": backbone, "scale": Scale(), "input_size": InputSize()}
    return on_meta(lambda: box2mask.build(**arguments | switches))


@pytest.mark.parametrize(
    ("backbone", "num_classes", "count"),
    [("resnet50", 80, 36_040_597), ("resnet101", 80, 55_032_725), ("resnet50", 79, 36_040_597 - 2_305)],
)
def test_parameters_are_as_counted(backbone, num_classes, count):
    assert count_parameters(published(backbone, num_classes))["params"] == count


def test_parameters_by_part():
    model = published()
    assert count_parameters(model.neck)["params"] == 3_344_384
    assert count_parameters(model.head)["params"] == 9_188_181
    assert model.head.level_set.out_channels == 5
    normed = published(mask_norm="group").head
    assert count_parameters(normed)["params"] - 9_188_181 == 7 * 512  # of the convolutions but the last


@pytest.mark.parametrize("name", ["trees", "mask_norm"])
def test_unknown_switches_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be one of"):
        published(**{name: "warp"})


@pytest.mark.parametrize("switch", [{"consistency_rounds": 0}, {"mask_threshold": 1.0}])
def test_numbers_that_mean_nothing_are_refused(switch):
    with pytest.raises(ValueError, match=f"{next(iter(switch))} must"):
        published(**switch)


# Boxes


def test_box_masks_have_their_corners_and_at_least_a_pixel():
    boxes = torch.tensor([[1.2, 0, 2.6, 2], [8, 8, 8.4, 8.4]])
    masks = box_masks(boxes, (10, 12), image_size=(10, 12))
    assert masks[0].sum() == 3 * 3 and masks[0, :3, 1:4].all()  # columns 1 to 3, rows 0 to 2
    assert masks[1].sum() == 1 and masks[1, 8, 8]
    coarse = box_masks(torch.tensor([[8.0, 0, 23, 15], [9, 9, 10, 10]]), (4, 8), image_size=(16, 32))
    assert coarse[0].nonzero()[:, 1].unique().tolist() == [2, 3, 4, 5] and coarse[0].sum() == 16
    assert coarse[1].nonzero().tolist() == [[2, 2]]
    uneven = box_masks(torch.tensor([[0.0, 0, 10, 10]]), (5, 2), image_size=(20, 30))  # pixels of 4 and of 15 px
    assert uneven[0].nonzero().tolist() == [
        [0, 0],
        [1, 0],
        [2, 0],
    ]  # the third's centre: 10 px
    assert box_masks(boxes[:0], (4, 4), image_size=(4, 4)).shape == (0, 4, 4)


def test_a_box_grows_by_one_unit():
    boxes = torch.tensor([[8.0, 8, 24, 16]])
    assert box_masks(boxes, (32, 32), image_size=(32, 32)).sum() == 17 * 9
    assert box_masks(boxes, (32, 32), image_size=(32, 32), unit=0.25).sum() == 16 * 8
    assert box_masks(boxes, (128, 128), image_size=(32, 32), unit=0.25).sum() == 65 * 33


def test_projection_is_nothing_for_the_filled_box_and_for_what_touches_all_its_sides():
    boxes = torch.zeros(1, 6, 8)
    boxes[0, 1:5, 2:6] = 1
    assert projection_loss(boxes, boxes).item() == pytest.approx(0, abs=1e-4)
    diagonal = torch.zeros(1, 6, 8)
    diagonal[0, range(1, 5), range(2, 6)] = 1
    assert projection_loss(diagonal, boxes).item() == pytest.approx(0, abs=1e-4)
    half = torch.zeros(1, 6, 8)
    half[0, 1:5, 2:4] = 1
    # All rows are hit, and two of four columns: 1 - 2 * 2 / (2 + 4).
    assert projection_loss(half, boxes).item() == pytest.approx(1 / 3, abs=1e-4)


# Level sets


def two_tones():
    boxes, mask = torch.zeros(1, 6, 8), torch.zeros(1, 6, 8)
    boxes[0, 1:5, 1:7], mask[0, 2:4, 2:5] = 1, 1
    feature = torch.stack([3 * mask[0], 1 - mask[0]])[None]
    feature[..., 0] = 77  # outside of the box nothing counts
    return mask, feature, boxes


def test_a_two_toned_map_has_no_energy_with_the_right_mask():
    mask, feature, boxes = two_tones()
    assert level_set_energy(mask, feature, boxes).item() == pytest.approx(0, abs=1e-6)
    assert level_set_energy(1 - mask, feature, boxes).item() == pytest.approx(0, abs=1e-6)  # it knows no side
    assert level_set_energy(torch.ones_like(mask), feature, boxes) > 0.1


def test_energy_by_hand():
    mask, boxes = torch.tensor([[[0.5, 1.0, 0.0]]]), torch.tensor([[[1, 1, 0]]])
    feature = torch.tensor([[[[2.0, 4.0, 9.0]]]])
    inside = (0.5 * 2 + 4) / 1.5
    expected = (0.5 * (2 - inside) ** 2 + (4 - inside) ** 2) / 2  # the outside has one tone, 2
    assert level_set_energy(mask, feature, boxes).item() == pytest.approx(expected)


# Local consistency


def test_constant_masks_are_consistent():
    torch.manual_seed(0)
    likeness = affinity(torch.rand(3, 9, 7))
    assert likeness.shape == (8, 9, 7)
    torch.testing.assert_close(likeness.sum(0), torch.ones(9, 7))
    boxes = torch.ones(2, 9, 7)
    masks = torch.tensor([0.3, 0.8]).view(2, 1, 1).expand(2, 9, 7)
    for rounds in (1, 10):
        found = consistency_loss(masks, likeness, boxes, rounds=rounds)
        torch.testing.assert_close(found, torch.zeros(2), atol=1e-5, rtol=0)


def test_consistency_by_hand():
    """One row of five alike pixels: two of the eight neighbours are the pixel itself, three lie two to each side.

    Beyond the border the last pixel goes on: the first one has 5/8 of itself and 3/8 of the third.
    """
    likeness = torch.full((8, 1, 5), 1 / 8)
    mask, boxes = torch.tensor([[[0.0, 0, 1, 0, 0]]]), torch.tensor([[[1, 1, 1, 1, 0]]])
    once = [3 / 8, 0, 1 / 4, 0, 3 / 8]
    assert consistency_loss(mask, likeness, boxes, rounds=1).item() == pytest.approx((3 / 8 + 3 / 4) / 4)
    twice = [5 / 8 * once[0] + 3 / 8 * once[2], 3 / 8 * once[0], 6 / 8 * once[0] + 2 / 8 * once[2], 3 / 8 * once[4]]
    expected = (twice[0] + twice[1] + (1 - twice[2]) + twice[3]) / 4
    assert consistency_loss(mask, likeness, boxes, rounds=2).item() == pytest.approx(expected)


def test_alike_pixels_are_those_of_the_same_tone():
    image = torch.zeros(3, 8, 12)
    image[:, :, 6:] = 1
    likeness = affinity(image)
    right = [index for index, (_, dx) in enumerate((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x) if dx == 1]
    assert likeness[right, 4, 5].sum() < 1e-3  # two to the right of column 5 lies the other tone
    assert likeness[right, 4, 2].sum() == pytest.approx(3 / 8)
    mask = (image[:1] > 0).float()
    boxes = torch.ones(1, 8, 12)
    assert consistency_loss(mask, likeness, boxes, rounds=10) < 0.01
    assert consistency_loss(mask.roll(1, 2), likeness, boxes, rounds=10) > 0.05


# Trees


def by_loop(maps, feature, sigma):
    """The filter as a product of weights along the path of every pair of pixels."""
    tree = spanning_tree(feature)
    above = tree.parents.tolist()
    flat = feature.flatten(1)

    def path(pixel):
        found = [pixel]
        while found[-1]:
            found.append(above[found[-1]])
        return found

    count = len(above)
    weights = torch.eye(count)
    for one in range(count):
        for other in range(count):
            up, down = path(one), path(other)
            common = next(pixel for pixel in up if pixel in down)
            steps = up[: up.index(common)] + down[: down.index(common)]
            weights[one, other] = math.prod(
                math.exp(-(flat[:, pixel] - flat[:, above[pixel]]).square().sum().item() / sigma) for pixel in steps
            )
    return (maps.flatten(1) @ weights.T / weights.sum(1)).view_as(maps)


def test_the_filter_is_that_of_all_pairs_of_pixels():
    torch.manual_seed(0)
    feature, maps = torch.rand(3, 4, 5), torch.rand(2, 4, 5)
    tree = spanning_tree(feature)
    found = tree_filter(maps, tree, edge_weights(tree, feature, sigma=0.5))
    torch.testing.assert_close(found, by_loop(maps, feature, 0.5))


def test_a_tree_spans_all_pixels_at_the_least_cost():
    feature = torch.tensor([[[0.0, 9, 0], [0, 9, 0], [0, 1, 0]]])
    tree = spanning_tree(feature)
    assert not tree.jumps[-1].any() and tree.parents[0] == 0  # all are below the first
    flat = feature.flatten()
    costs = (flat - flat[tree.parents])[1:].square()
    # Two columns of zeros, bridged below at a cost of 1 and 1, and two nines at 81 - one bridge among themselves.
    assert costs.sum().item() == 1 + 1 + 64 + 0
    distance = (torch.arange(9) - tree.parents)[1:].abs()
    assert set(distance.tolist()) <= {1, 3}


def test_a_constant_stays_and_nothing_crosses_an_edge():
    torch.manual_seed(0)
    feature = torch.rand(3, 6, 7)
    constant = torch.full((2, 6, 7), 0.4)
    torch.testing.assert_close(
        filtered_maps(constant, feature, torch.rand(5, 6, 7)), constant[:, None].expand(2, 2, 6, 7)
    )
    image = torch.zeros(3, 6, 8)
    image[:, :, 4:] = 1
    mask = torch.zeros(1, 6, 8)
    mask[0, 2, 1] = 1
    (by_image, _) = filtered_maps(mask, image, torch.zeros(5, 6, 8))[0]
    torch.testing.assert_close(by_image[:, :4], torch.full((6, 4), 1 / 24), atol=1e-4, rtol=0)
    assert by_image[:, 4:].abs().max() < 1e-6


def test_gradients_reach_maps_and_the_level_sets_feature():
    torch.manual_seed(0)
    image, level_set = torch.rand(3, 3, 4), torch.rand(2, 3, 4, dtype=torch.float64, requires_grad=True)
    masks = torch.rand(1, 3, 4, dtype=torch.float64, requires_grad=True)
    tree = spanning_tree(image)

    def filtered(masks, weights):
        return tree_filter(masks, tree, weights)

    def with_root(edges):
        return torch.cat([edges.new_zeros(1), edges])

    edges = torch.rand(11, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda masks, edges: filtered(masks, with_root(edges)), (masks, edges))
    filtered_maps(masks.float(), image, level_set.float()).square().sum().backward()
    assert masks.grad.any() and level_set.grad.any()


# The detector


@pytest.fixture
def thin(thin_scale, input_size):
    def build(**switches):
        torch.manual_seed(0)
        return box2mask.build(num_classes=2, backbone="resnet50", scale=thin_scale, input_size=input_size, **switches)

    return build


def test_masks_of_the_data_are_not_looked_at(thin, scene):
    model = thin()
    image, target = scene()
    losses = []
    for masks in (target["masks"], torch.zeros_like(target["masks"])):
        torch.manual_seed(0)
        losses.append({k: v.item() for k, v in model([image], [target | {"masks": masks}]).items()})
    assert losses[0] == losses[1] and losses[0].keys() == {
        "loss_category",
        "loss_projection",
        "loss_level_set",
        "loss_consistency",
    }


def test_without_trees_the_image_alone_has_level_sets(thin, scene):
    image, target = scene()
    with_trees, without = thin(), thin(trees="off")
    one, other = (model([image], [target]) for model in (with_trees, without))
    assert one["loss_level_set"] > other["loss_level_set"] > 0
    assert one["loss_projection"].item() == pytest.approx(other["loss_projection"].item())
    other["loss_level_set"].backward()
    assert not without.head.level_set.weight.grad.any()


def test_rounds_and_threshold_are_the_heads(thin, scene):
    image, target = scene()
    once, often = (thin(consistency_rounds=rounds)([image], [target]) for rounds in (1, 10))
    assert once["loss_consistency"] != often["loss_consistency"]
    assert once["loss_projection"].item() == pytest.approx(often["loss_projection"].item())
    areas = []
    for threshold in (0.2, 0.8):
        torch.manual_seed(0)
        model = thin(mask_threshold=threshold).eval()
        torch.nn.init.normal_(model.head.branches.kernel.weight)  # probabilities of all sizes
        torch.nn.init.normal_(model.head.mask_feature.fuse.weight)
        model.head.branches.category.bias.data.fill_(2.0)
        with torch.no_grad():
            areas.append(model([image])[0]["masks"].sum().item())
    assert areas[0] > areas[1]


def test_tiny_boxes_are_not_learnt(thin, scene):
    image, target = scene()
    model = thin()
    assert model.head.least_area == pytest.approx(10 / 16)
    small = target | {"boxes": torch.tensor([[5.0, 5, 5.7, 5.7], [9, 9, 9.5, 9.9]])}
    losses = model([image], [small])
    assert losses["loss_projection"] == 0 and losses["loss_level_set"] == 0


def test_the_last_of_several_instances_has_a_cell_to_itself(thin):
    model = thin()
    boxes = torch.tensor([[4.0, 4, 44, 44], [6, 6, 46, 46]])
    target = {"boxes": boxes, "labels": torch.tensor([1, 2])}
    both = model.head._positives(target, size=(64, 64))
    assert both.cells.unique().numel() == len(both.cells)
    swapped = model.head._positives({key: value.flip(0) for key, value in target.items()}, size=(64, 64))
    assert torch.equal(both.cells, swapped.cells)
    changed = (both.boxes != swapped.boxes).all(1)
    assert changed.any(), "cells that both claim"
    assert torch.equal(both.boxes[changed], boxes[1].expand(int(changed.sum()), 4))
    assert (both.labels[both.cells[changed]] == 2).all()


def test_masks_are_combined_from_a_map_of_either_sign(thin, scene):
    """The published 1x1 convolution is not followed by a ReLU."""
    model = thin()
    with torch.no_grad():
        model.head.mask_feature.fuse.bias.fill_(-1e3)
        features = model.pyramid(model.transform([scene()[0]], None)[0])
        assert (model.head(features).mask_feature < 0).all()


def test_trees_are_not_finer_than_masks(thin, monkeypatch):
    seen = []

    def filtered(masks, image, level_set):
        assert masks.shape[1:] == image.shape[1:] == level_set.shape[1:]
        seen.append(tuple(masks.shape))
        return masks[:, None].expand(-1, 2, -1, -1)

    monkeypatch.setattr(box2mask_head, "filtered_maps", filtered)
    head = thin().head
    positives = box2mask_head.Positives(torch.ones(1), torch.tensor([0, 1]), torch.tensor([[8.0, 8, 40, 30]] * 2))
    for height, width in ((16, 20), (60, 120)):
        maps = (torch.rand(channels, scale * height, scale * width) for channels, scale in ((2, 1), (3, 4), (5, 1)))
        masks, image, level_set = maps
        assert all(loss.shape == (2,) for loss in head._mask_losses(masks, positives, image, level_set))
    assert seen == [(2, 16, 20), (2, 60, 96)]


def test_masks_of_coarse_levels_are_learnt_at_a_lower_resolution():
    head = published().head
    cells = torch.tensor([0, 40**2, 40**2 + 36**2, 40**2 + 36**2 + 24**2, 3871])
    assert head._factors(cells).tolist() == [1, 1, 2, 4, 4]
