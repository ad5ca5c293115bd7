"""Mask Transfiner: counts, incoherent regions, nodes and their selection, refinement, and the losses."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reprolib.evaluation.cost import count_parameters, on_meta
from reprolib.models.input_transform import InputSize
from reprolib.models.systems.mask_transfiner import model as mask_transfiner
from reprolib.models.systems.mask_transfiner.incoherence import (
    boundaries,
    draw_nodes,
    incoherence_loss,
    incoherence_targets,
    lost_detail,
    nodes_above,
)
from reprolib.models.systems.mask_transfiner.node_encoder import NodeEncoder
from reprolib.models.systems.mask_transfiner.transfiner_branch import transfiner_branch
from reprolib.models.systems.mask_transfiner.transfiner_heads import any_instance
from reprolib.models.two_stage.mask_targets import cut_masks
from reprolib.models.two_stage.roi_pooler import roi_pooler
from reprolib.models.two_stage.samples import Samples
from reprolib.params import Scale


@pytest.mark.parametrize(
    ("dialect", "backbone", "num_classes", "boundary", "total"),
    [
        ("mm", "resnet50", 80, True, 53_227_956),
        ("mm", "resnet50", 1, True, 52_802_778),
        ("mm", "resnet101", 80, True, 72_220_084),
        ("mm", "resnet101", 1, True, 71_794_906),
        ("d2", "resnet50", 80, True, 53_174_836),
        ("mm", "resnet50", 80, False, 52_965_299),
        ("mm", "resnet50", 1, False, 52_540_121),
        ("mm", "resnet101", 80, False, 71_957_427),
        ("mm", "resnet101", 1, False, 71_532_249),
        ("d2", "resnet50", 80, False, 52_912_179),  # IEMask, Table 8: 52.9 M
    ],
)
def test_published_parameter_counts(dialect, backbone, num_classes, boundary, total) -> None:
    model = on_meta(
        lambda: mask_transfiner.build(
            num_classes=num_classes,
            backbone=backbone,
            scale=Scale(),
            input_size=InputSize(),
            dialect=dialect,
            boundary_branch=boundary,
        )
    )
    assert count_parameters(model)["params"] == total


def test_parameters_of_the_parts() -> None:
    assert count_parameters(on_meta(lambda: NodeEncoder(256)))["params"] == 4_077_313


# Which nodes


def test_detail_is_lost_where_pixels_differ_from_their_neighbours() -> None:
    """A half plane whose edge lies between two cells of half the size, and one whose edge cuts such cells."""
    masks = torch.zeros(3, 8, 8, dtype=torch.uint8)
    masks[1, :, 4:] = 1
    masks[2, :, 5:] = 1
    lost = lost_detail(masks)
    assert lost.shape == (3, 4, 4) and not lost[0].any()
    # Doubled, the row 0 0 1 1 of means is 0 0 0 .25 .75 1 1 1: off by a quarter on both sides of the edge.
    assert lost[1].tolist() == [[False, True, True, False]] * 4
    # The row 0 0 .5 1 is 0 0 0 .125 .375 .625 .875 1: cells 1, 2 and 3 hold what is off.
    assert lost[2].tolist() == [[False, True, True, True]] * 4
    assert lost_detail(torch.zeros(1, 7, 1)).shape == (1, 4, 1)


def test_incoherence_targets_are_cut_from_the_boxes() -> None:
    masks = torch.zeros(2, 56, 112, dtype=torch.uint8)
    masks[1, :, 28:] = 1
    # In batch pixels the image is half as wide: the box is the original's 0 to 56, its cells 2 px, the edge at cell 14.
    target = {"masks": masks, "to_original": (2.0, 1.0)}
    box = torch.tensor([[0.0, 0.0, 28.0, 56.0]])
    positives = Samples([box], [torch.ones(1).long()], [torch.ones(1).long()], [torch.zeros(1, dtype=torch.bool)])
    wanted = incoherence_targets(positives, [target], size=28, aligned=True)
    assert wanted.shape == (1, 28, 28) and torch.equal(wanted, wanted[:, :1].expand(-1, 28, -1))
    assert torch.where(wanted[0, 0])[0].tolist() == [13, 14]
    flat = positives._replace(matched=[torch.zeros(1).long()])
    assert not incoherence_targets(flat, [target], size=28, aligned=True).any()


def test_boundaries_are_a_band_of_two_pixels() -> None:
    masks = torch.zeros(2, 6, 6)
    masks[0, :, 3:] = 1
    masks[1] = 1
    assert boundaries(masks)[0].tolist() == [[0, 0, 1, 1, 0, 0]] * 6
    assert not boundaries(masks)[1].any(), "the border of the box is no boundary"
    masks[0] = 0
    masks[0, 2, 3] = 1
    assert boundaries(masks)[0].nonzero().tolist() == [[1, 3], [2, 2], [2, 3], [2, 4], [3, 3]], "no diagonal neighbour"


def test_nodes_inherit_the_incoherence_of_their_cell() -> None:
    cells = torch.tensor([[[0.1, 0.6], [0.9, 0.2]]])
    chosen = nodes_above(cells, side=4, threshold=0.5).view(4, 4)
    assert chosen.tolist() == [[False, False, True, True]] * 2 + [[True, True, False, False]] * 2


def test_drawn_nodes_are_chosen_ones_and_repeat_only_when_they_must() -> None:
    torch.manual_seed(0)
    chosen = torch.zeros(2, 40, dtype=torch.bool)
    chosen[0, 5:30], chosen[1, :4] = True, True
    drawn = draw_nodes(chosen, 10)
    assert drawn.shape == (2, 10) and chosen.gather(1, drawn).all()
    assert drawn[0].unique().numel() == 10 and drawn[1].unique().tolist() == [0, 1, 2, 3]
    assert sorted(drawn[1].bincount().tolist()) == [2, 2, 3, 3]


# Losses and refinement


def test_the_incoherence_loss_by_hand() -> None:
    logits = torch.tensor([[[0.0, 0.0]]])
    wanted = torch.tensor([[[1.0, 0.0]]])
    # Cross-entropy ln 2; Dice 1 - (2 * 0.5 + 1) / (1 + 1 + 1).
    assert incoherence_loss(logits, wanted).item() == pytest.approx(0.5 * (0.693147 + 1 / 3), abs=1e-5)


class Constant(nn.Module):
    """An encoder that notes what it sees."""

    def forward(self, features, coarse, position):
        self.seen = features.shape, coarse, position
        return torch.full_like(coarse, 4.0) + features.sum() * 0


@pytest.fixture
def branch(thin_scale):
    torch.manual_seed(0)
    found = transfiner_branch(num_classes=2, scale=thin_scale, dialect="d2")
    found.encoder = Constant()
    return found


def maps(rows: int) -> list[torch.Tensor]:
    return [torch.randn(rows, 32, side, side) for side in (14, 28, 56, 112)]


def test_only_chosen_nodes_are_written(branch) -> None:
    """Level by level, in the doubled mask of the level before."""
    coarse = torch.rand(1, 28, 28) * 0.5
    incoherence = torch.zeros(1, 28, 28)
    plain = coarse
    for _ in range(2):
        plain = F.interpolate(plain[None], scale_factor=2, mode="bilinear", align_corners=True)[0]
    torch.testing.assert_close(branch.refined(maps(1), coarse, incoherence), plain[0])
    assert branch.encoder.seen[0] == (1, 196, 32), "no node is chosen"
    incoherence[0, 3, 5] = 0.9
    mask = branch.refined(maps(1), coarse, incoherence)
    written = torch.full((), 4.0).sigmoid()
    assert branch.encoder.seen[0] == (1, 196 + 1 + 4 + 16, 32)
    assert (mask[12:16, 20:24] == written).all() and (mask == written).sum() == 16
    assert torch.equal(mask[40:], plain[0, 40:])


class Knowing(nn.Module):
    """An encoder that is given the numbers of the nodes and answers whether their cells of the box are in the mask."""

    def __init__(self, mask: torch.Tensor, box: torch.Tensor) -> None:
        super().__init__()
        self.mask, self.box = mask, box

    def forward(self, nodes: list[torch.Tensor]) -> torch.Tensor:
        levels = zip((14, 28, 56, 112), nodes, strict=True)
        return torch.cat([truth(self.mask, self.box, side)[node] for side, node in levels], dim=1) * 20 - 10


def truth(mask: torch.Tensor, box: torch.Tensor, side: int) -> torch.Tensor:
    """What a box [4] sees of a mask [H,W] at side x side nodes, flat."""
    first = torch.zeros(1, dtype=torch.long)
    return cut_masks(mask[None], box[None], first, size=side, aligned=True, binary=True).flatten()


def test_an_encoder_that_knows_the_truth_makes_it_of_any_coarse_mask(branch, monkeypatch) -> None:
    """All nodes of the first level are overwritten, of the finer ones those on the outline, where the truth lies."""
    down, right = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    mask = (((right - 45) / 30) ** 2 + ((down - 50) / 18) ** 2 <= 1).float()
    box = torch.tensor([10.0, 28, 80, 72])
    monkeypatch.setattr(branch, "encoder", Knowing(mask, box))
    monkeypatch.setattr(branch, "tokens", lambda maps, coarse, nodes: (nodes,))
    outline = truth(lost_detail(mask[None])[0].float(), box / 2, 28).unflatten(0, (28, 28))[None]
    incoherence = outline.clamp(min=1e-3)  # as of a sigmoid
    wanted = truth(mask, box, 112).unflatten(0, (112, 112)).bool()
    for coarse in (torch.zeros(1, 28, 28), torch.ones(1, 28, 28)):
        assert torch.equal(branch.refined([], coarse, incoherence) >= 0.5, wanted)
    without = branch.refined([], torch.zeros(1, 28, 28), incoherence * 0.1) >= 0.5
    assert without.ne(wanted).float().mean() > 0.02, "the finer levels have their part in it"


def test_in_inference_every_node_of_the_first_level_is_chosen(branch) -> None:
    mask = branch.refined(maps(1), torch.rand(1, 28, 28), torch.full((1, 28, 28), 1e-4))
    assert branch.encoder.seen[0] == (1, 196 + 784, 32)
    torch.testing.assert_close(mask, torch.full((112, 112), 4.0).sigmoid())


def test_training_takes_150_nodes_a_level_of_boxes_that_have_ten(branch) -> None:
    incoherence = torch.zeros(4, 28, 28)
    incoherence[1, :2, :5] = 0.6  # ten nodes of the first level
    incoherence[2, :3, :3] = 0.6  # nine
    incoherence[3, :4, :4] = 0.4  # none of the finer levels
    nodes, rows = branch.training_nodes(incoherence)
    assert rows.tolist() == [1] and [tuple(part.shape) for part in nodes] == [(1, 196), (1, 150), (1, 150), (1, 150)]
    assert nodes[1].unique().numel() == 10 and nodes[2].unique().numel() == 40 and nodes[3].unique().numel() == 150
    features, coarse, position = branch.tokens(maps(1), torch.rand(1, 28, 28), nodes)
    assert features.shape == position.shape == (1, 196 + 450, 32) and coarse.shape == (1, 646)


def test_where_no_box_has_enough_nodes_all_train_on_the_coarse_ones(branch) -> None:
    nodes, rows = branch.training_nodes(torch.zeros(3, 28, 28))
    assert rows.tolist() == [0, 1, 2] and [tuple(part.shape) for part in nodes] == [(3, 196)]


def test_boxes_that_train_the_encoder_are_drawn_at_random(thin_scale, monkeypatch) -> None:
    """Of the first image's six two and their features; none is left for the second image."""
    torch.manual_seed(0)
    branch = transfiner_branch(num_classes=2, scale=thin_scale, dialect="d2", limits=(2, None))
    corners = torch.arange(6)[:, None] * 4.0
    boxes = torch.cat([corners, corners, corners + 30, corners + 30], dim=1)
    masks = torch.zeros(1, 128, 128, dtype=torch.uint8)
    masks[0, 8:40, 8:40] = 1
    target = {"boxes": boxes[:1], "labels": torch.tensor([1]), "masks": masks, "to_original": (1.0, 1.0)}
    same = torch.zeros(6, dtype=torch.long)
    positives = Samples([boxes] * 2, [same + 1] * 2, [same] * 2, [same.bool()] * 2).with_positive()
    features = [torch.randn(2, 32, 32 >> level, 32 >> level) for level in range(5)]
    whole = branch.roi_features(features, [boxes] * 2)
    seen, tokens, fine_features = [], branch.tokens, branch.fine_features
    monkeypatch.setattr(branch, "fine_features", lambda *given: seen.append(given[2]) or fine_features(*given))
    monkeypatch.setattr(branch, "tokens", lambda maps, *rest: seen.append(maps[0]) or tokens(maps, *rest))
    pairs = set()
    for _ in range(6):
        seen.clear()
        branch.losses(features, positives, [target] * 2, fine=features[0])
        (first, second), read = seen
        assert len(second) == 0 and len(first) == len(read) == 2
        rows = [boxes.tolist().index(box) for box in first.tolist()]
        torch.testing.assert_close(read, whole[rows])
        pairs.add(tuple(sorted(rows)))
    assert len(pairs) > 2


def test_tokens_hold_what_is_at_their_nodes(branch) -> None:
    torch.manual_seed(0)
    levels, coarse = maps(2), torch.rand(2, 28, 28)
    nodes = [torch.tensor([[0, 3], [7, 1]]), torch.tensor([[29], [2]]), torch.tensor([[57], [0]])]
    nodes.append(torch.tensor([[112 * 3 + 4], [5]]))
    features, probability, _ = branch.tokens(levels, coarse, nodes)
    assert torch.equal(features[0, 1], levels[0][0, :, 0, 3]) and torch.equal(features[1, 0], levels[0][1, :, 0, 7])
    assert torch.equal(features[0, 2], levels[1][0, :, 1, 1]) and torch.equal(features[1, 4], levels[3][1, :, 0, 5])
    assert torch.equal(features[0, 4], levels[3][0, :, 3, 4])
    assert probability[0, 2] == coarse[0, 1, 1]
    assert probability[0, 0].item() == pytest.approx(coarse[0, :2, :2].mean().item())


def test_finer_levels_read_finer_maps(branch) -> None:
    """Level by box size as the mask features' own, less 1, 2 and 3, but none finer than P2."""
    sides = torch.tensor([20.0, 60, 130, 300, 500, 2000])
    boxes = torch.stack([sides * 0, sides * 0, sides, sides], dim=1)
    plain = roi_pooler(14, dialect="d2").levels(boxes)
    assert plain.tolist() == [0, 0, 1, 2, 3, 3]
    for finer, pooler in enumerate(branch.fine_poolers, start=1):
        assert pooler.resolution == 14 * 2**finer
        assert torch.equal(pooler.levels(boxes), (plain - finer).clamp(min=0))


def test_boxes_beyond_the_limit_keep_their_coarse_mask(thin_scale) -> None:
    torch.manual_seed(0)
    branch = transfiner_branch(num_classes=2, scale=thin_scale, dialect="d2", limits=(30, 1)).eval()
    features = [torch.randn(2, 32, 64 >> level, 64 >> level) for level in range(5)]
    boxes = torch.tensor([[4.0, 4, 40, 30], [10, 60, 200, 90], [50, 50, 90, 90]])
    found = [
        {"boxes": boxes[:0], "labels": torch.zeros(0).long()},
        {"boxes": boxes, "labels": torch.tensor([1, 2, 1])},
    ]
    with torch.no_grad():
        none, three = branch.inference(features, found, fine=features[0])
        roi = branch.roi_features([part[1:] for part in features], [boxes])
        coarse = branch.masks(roi, found[1]["labels"])
        plain = F.interpolate(coarse[:, None], size=(112, 112), mode="bilinear", align_corners=False)[:, 0]
    assert none["masks"].shape == (0, 112, 112)
    torch.testing.assert_close(three["masks"][1:], plain[1:])
    assert (three["masks"][0] - plain[0]).abs().max() > 0.01


def test_any_instance_is_read_at_the_cells_centres() -> None:
    masks = torch.zeros(2, 20, 10, dtype=torch.uint8)
    masks[0, :, :3], masks[1, 12:, :] = 1, 1
    # The image is 20 x 20 in the batch: columns at 2, 6, .. px read the original's 1, 3, ..
    target = {"masks": masks, "to_original": (0.5, 1.0)}
    found = any_instance([target, target | {"masks": masks[:0]}], [(20, 20)] * 2, like=torch.zeros(2, 8, 8))
    assert found[0, :5, :5].tolist() == [[1, 0, 0, 0, 0]] * 3 + [[1, 1, 1, 1, 1]] * 2
    assert not found[0, 5:].any() and not found[0, :, 5:].any() and not found[1].any()


def test_losses_and_what_they_train(thin_scale, input_size, scene) -> None:
    torch.manual_seed(0)
    model = mask_transfiner.build(num_classes=2, backbone="resnet50", scale=thin_scale, input_size=input_size).train()
    names = {"loss_mask", "loss_incoherence", "loss_boundary", "loss_semantic", "loss_refinement"}
    image, target = scene()
    losses = model([image], [target])
    assert names <= losses.keys()
    refinement = losses["loss_refinement"]
    assert 0 <= refinement < 1
    heads = model.roi_heads.mask_branch
    reached = torch.autograd.grad(
        refinement, [heads.head.predictor.weight, heads.incoherence.predictor.weight], allow_unused=True
    )
    assert reached == (None, None), "neither the coarse masks nor the choice of nodes learn by the refinement"
    plain = mask_transfiner.build(
        num_classes=2, backbone="resnet50", scale=thin_scale, input_size=input_size, boundary_branch=False
    ).train()
    assert names - plain([image], [target]).keys() == {"loss_boundary"}
