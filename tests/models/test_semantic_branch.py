"""The semantic branch of HTC and SCNet: counts, targets cell by cell, loss, features of boxes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from reprolib.models.two_stage.semantic_branch import IGNORE, SemanticBranch, build_semantic, paint, semantic_targets
from reprolib.params import Scale


def branch(*, classes: int = 3, source: str = "stuff", **switches) -> SemanticBranch:
    torch.manual_seed(0)
    return SemanticBranch(4, classes=classes, source=source, dialect="mm", **switches)


def pyramid(*, height: int = 64, width: int = 96, channels: int = 4, images: int = 1) -> list[torch.Tensor]:
    torch.manual_seed(1)
    sizes = [(-(-height // stride), -(-width // stride)) for stride in (4, 8, 16, 32, 64)]
    return [torch.rand(images, channels, *size) for size in sizes]


def stuff(height: int, width: int, *, classes: int = 250, **more) -> dict:
    """A target whose map holds a different number at nearly every pixel."""
    semantic = (torch.arange(height * width).view(height, width) * 7) % classes
    return {
        "semantic": semantic.to(torch.uint8),
        "masks": torch.zeros(0, height, width, dtype=torch.uint8),
        "labels": torch.zeros(0, dtype=torch.long),
    } | more


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize(
    ("source", "num_classes", "total"),
    [("stuff", 80, 2_802_103), ("stuff", 1, 2_802_103), ("from_instances", 1, 2_755_586)],
)
def test_published_parameter_counts(source, num_classes, total, residual) -> None:
    with torch.device("meta"):
        built = build_semantic(source, num_classes=num_classes, scale=Scale(), dialect="mm", residual=residual)
    assert sum(p.numel() for p in built.parameters()) == total


def test_sources() -> None:
    arguments = {"num_classes": 2, "scale": Scale(channels=8), "dialect": "mm"}
    assert build_semantic("off", **arguments) is None
    with pytest.raises(ValueError, match="semantic_source must be one of off, stuff, from_instances, not 'coco'"):
        build_semantic("coco", **arguments)


@pytest.mark.parametrize("residual", [False, True])
def test_both_outputs_have_the_size_of_p3(residual) -> None:
    logits, embedding = branch(classes=7, residual=residual)(pyramid(height=96, width=64, images=2))
    assert logits.shape == (2, 7, 12, 8) and embedding.shape == (2, 4, 12, 8)
    assert logits.dtype == torch.float32 and (embedding >= 0).all()


def test_levels_are_resized_passed_through_relu_and_summed() -> None:
    """With identity laterals: levels 1, 2, -9, 4, 5 give 12, the negative one is gone before the sum."""
    model, seen = branch(), []
    for lateral in model.laterals:
        torch.nn.init.dirac_(lateral.weight)
    model.convs.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))
    values = (1.0, 2.0, -9.0, 4.0, 5.0)
    model([torch.full_like(level, value) for level, value in zip(pyramid(), values, strict=True)])
    torch.testing.assert_close(seen[0], torch.full((1, 4, 8, 12), 12.0))

    ramp = [torch.zeros_like(level) for level in pyramid()]
    ramp[3] += torch.arange(3.0)  # P5, three cells wide: aligned corners spread its columns evenly over P3's twelve
    model(ramp)
    torch.testing.assert_close(seen[1], torch.linspace(0, 2, 12).expand(1, 4, 8, 12))


@pytest.mark.parametrize(
    ("original", "size", "rows", "columns"),
    [
        ((32, 64), (32, 64), [0, 8, 16, 24], [0, 8, 16, 24, 32, 40, 48, 56]),  # as given: no padding
        ((16, 32), (24, 40), [0, 5, 10], [0, 6, 12, 19, 25]),  # enlarged, y by 3/2 and x by 5/4
        ((32, 16), (24, 40), [0, 10, 21], [0, 3, 6, 9, 12]),  # the other way round: y shrinks, x grows
        ((7, 5), (21, 15), [0, 2, 5], [0, 1 + 1]),  # odd sizes
        ((61, 47), (25, 57), [0, 19, 39, 58], [0, 6, 13, 19, 26, 32, 39, 46]),  # one pixel of a last cell inside
    ],
)
def test_cells_read_the_nearest_original_pixel_and_padding_is_ignored(original, size, rows, columns) -> None:
    """Batch of 32 x 64 px, so a map of 4 x 8 cells."""
    target = stuff(*original)
    found = semantic_targets([target], [size], size=(4, 8), source="stuff")[0]
    expected = torch.full((4, 8), IGNORE)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            expected[i, j] = target["semantic"][row, column]
    assert found.dtype == torch.long
    torch.testing.assert_close(found, expected)


def test_sampling_is_exact_where_factors_are_not() -> None:
    """Cell 7 of an image resized from 183 px to 84 starts at 56 * 183 / 84 = 122; as a float the factor is too low."""
    assert int(56 * (183 / 84)) == 121
    target = stuff(1, 183)
    found = semantic_targets([target], [(8, 84)], size=(1, 12), source="stuff")[0, 0]
    assert found[7] == target["semantic"][0, 122]


def test_equals_two_nearest_resizes() -> None:
    """mmdetection's way: the map goes with the image, then by 1/8."""
    target = stuff(90, 70)
    resized = F.interpolate(target["semantic"][None, None].float(), size=(128, 96), mode="nearest")
    small = F.interpolate(resized, scale_factor=1 / 8, mode="nearest")[0, 0].long()
    found = semantic_targets([target], [(128, 96)], size=(16, 12), source="stuff")[0]
    torch.testing.assert_close(found, small)


def test_instances_are_painted_with_their_labels_the_smaller_on_top() -> None:
    masks = torch.zeros(3, 4, 6, dtype=torch.uint8)
    masks[0, :3, :3] = 1  # nine cells
    masks[1, 1:3, 1:6] = 1  # ten
    masks[2, 1, 1] = 1  # one, inside both
    expected = torch.tensor([[5, 5, 5, 0, 0, 0], [5, 9, 5, 7, 7, 7], [5, 5, 5, 7, 7, 7], [0, 0, 0, 0, 0, 0]])
    labels = torch.tensor([5, 7, 9])
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        torch.testing.assert_close(paint(masks[order], labels[order]), expected)
        torch.testing.assert_close(paint(masks[order].bool(), labels[order]), expected)
    assert paint(masks[:0], labels[:0]).tolist() == [[0] * 6] * 4


def test_painted_targets_follow_scale_and_padding() -> None:
    masks = torch.zeros(1, 16, 32, dtype=torch.uint8)
    masks[0, :, 16:] = 1
    target = {"masks": masks, "labels": torch.tensor([2])}
    found = semantic_targets([target], [(16, 64)], size=(4, 8), source="from_instances")[0]
    assert found[:2].tolist() == [[0, 0, 0, 0, 2, 2, 2, 2]] * 2
    assert (found[2:] == IGNORE).all()


def test_loss_is_the_weighted_mean_over_labelled_cells() -> None:
    model = branch(classes=3)
    target = stuff(16, 24, classes=3)
    target["semantic"][0, 8] = IGNORE
    torch.manual_seed(2)
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = model.loss(logits, [target], [(16, 24)])
    cells = [(y, x) for y in range(2) for x in range(3) if (y, x) != (0, 1)]
    each = [-logits[0, :, y, x].log_softmax(0)[int(target["semantic"][8 * y, 8 * x])] for y, x in cells]
    torch.testing.assert_close(loss, 0.2 * torch.stack(each).mean())
    loss.backward()
    touched = logits.grad[0].abs().sum(0) > 0
    assert {tuple(cell) for cell in touched.nonzero().tolist()} == set(cells)


def test_nothing_labelled_is_no_loss() -> None:
    model = branch(classes=3)
    target = stuff(16, 16)
    target["semantic"][:] = IGNORE
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = model.loss(logits, [target], [(16, 16)])
    loss.backward()
    assert loss == 0 and (logits.grad == 0).all()


def test_maps_that_cannot_be_used_are_named() -> None:
    model, logits = branch(classes=3), torch.zeros(1, 3, 2, 2)
    beyond = stuff(16, 16, classes=3)
    beyond["semantic"][8, 8] = 3
    with pytest.raises(ValueError, match=r"labels 0\.\.2 or 255 \(no label\), but one holds 3; renumber"):
        model.loss(logits, [beyond], [(16, 16)])
    absent = {key: value for key, value in stuff(16, 16, image_id=41).items() if key != "semantic"}
    with pytest.raises(ValueError, match=r"image_id 41.*set semantic_source to 'off' or 'from_instances'"):
        model.loss(logits, [absent], [(16, 16)])
    other = stuff(16, 16, image_id=42) | {"semantic": torch.zeros(8, 16, dtype=torch.uint8)}
    with pytest.raises(ValueError, match=r"image_id 42.*\[8, 16\].*\[16, 16\]"):
        model.loss(logits, [other], [(16, 16)])


def test_features_of_boxes_are_read_at_stride_8() -> None:
    model = branch()
    columns = torch.arange(12.0).expand(1, 4, 8, 12)
    boxes = [torch.tensor([[16.0, 8.0, 72.0, 40.0], [0.0, 0.0, 96.0, 64.0]])]
    masks = model.mask_features(columns, boxes)
    assert masks.shape == (2, 4, 14, 14)
    # 56 px = 7 cells wide: bin centres every half cell from 2 + 1/4; cell centres are at +1/2.
    torch.testing.assert_close(masks[0, 0, 0], 2 + (torch.arange(14) + 0.5) / 2 - 0.5)
    pooled = model.box_features(columns, boxes)
    assert pooled.shape == (2, 4, 7, 7)
    torch.testing.assert_close(pooled, F.adaptive_avg_pool2d(masks, 7))
    nothing = model.box_features(columns, [torch.zeros(0, 4)])
    assert nothing.shape == (0, 4, 7, 7)


@pytest.mark.parametrize("classes", [2, 183])
def test_an_untrained_branch_starts_near_even_odds(classes) -> None:
    torch.manual_seed(0)
    model = SemanticBranch(64, classes=classes, source="stuff", dialect="mm")
    loss = model.loss(model(pyramid(channels=64))[0], [stuff(64, 96, classes=classes)], [(64, 96)])
    assert float(loss.detach()) == pytest.approx(0.2 * torch.tensor(classes).log().item(), rel=0.1)


@pytest.mark.parametrize("residual", [False, True])
def test_every_parameter_learns(residual) -> None:
    model = branch(classes=250, residual=residual)
    logits, embedding = model(pyramid())
    boxes = [torch.tensor([[4.0, 4.0, 50.0, 40.0]])]
    (model.loss(logits, [stuff(64, 96)], [(64, 96)]) + model.mask_features(embedding, boxes).sum()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
