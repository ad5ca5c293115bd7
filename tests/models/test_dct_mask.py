"""DCT-Mask: counts, cost, the code of a mask, the loss, decoded masks."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from scipy.fft import dctn

from reprolib.evaluation.cost import count_parameters, flops, on_meta
from reprolib.models.input_transform import InputSize
from reprolib.models.systems.dct_mask import model as dct_mask
from reprolib.models.systems.dct_mask.dct_mask_branch import DCTMaskHead, dct_mask_branch
from reprolib.models.systems.dct_mask.mask_dct import MaskDCT, cosine_matrix, zigzag
from reprolib.models.systems.mask_rcnn import model as mask_rcnn
from reprolib.models.two_stage.samples import Samples
from reprolib.params import Scale


def published(backbone="resnet50", num_classes=80, dialect="d2", system=dct_mask):
    return on_meta(
        lambda: system.build(
            num_classes=num_classes, backbone=backbone, scale=Scale(), input_size=InputSize(), dialect=dialect
        )
    )


def star(lobes: int, *, radius: float = 60.0, depth: float = 0.0) -> torch.Tensor:
    """bool [128,128]: points whose distance from the middle is below radius (1 - depth + depth cos(lobes angle))."""
    place = torch.arange(128) + 0.5 - 64
    y, x = place[:, None], place[None]
    return x.hypot(y) < radius * (1 - depth + depth * torch.cos(lobes * torch.atan2(y, x)))


def iou(a: torch.Tensor, b: torch.Tensor) -> float:
    return ((a & b).sum() / (a | b).sum()).item()


@pytest.fixture
def branch(thin_scale):
    torch.manual_seed(0)
    scale = dataclasses.replace(thin_scale, channels=4, box_hidden=8)
    return dct_mask_branch(scale=scale, dialect="d2")


@pytest.mark.parametrize(
    ("dialect", "backbone", "num_classes", "total"),
    [
        ("mm", "resnet50", 80, 96_851_724),
        ("mm", "resnet50", 1, 96_446_849),
        ("mm", "resnet101", 80, 115_843_852),
        ("mm", "resnet101", 1, 115_438_977),
        ("d2", "resnet50", 80, 96_798_604),  # IEMask, Table 8: 96.8 M
    ],
)
def test_published_parameter_counts(dialect, backbone, num_classes, total) -> None:
    assert count_parameters(published(backbone, num_classes, dialect))["params"] == total


def test_parameters_of_the_head() -> None:
    head = on_meta(lambda: DCTMaskHead(256, resolution=14, hidden=1024, dim=300))
    assert count_parameters(head)["params"] == 55_098_668


def test_multiply_adds_per_detection() -> None:
    model = published()
    without, with_fifty = (flops(model, 800, 1152, 1000, count) for count in (0, 50))
    assert (with_fifty - without) / 50e9 == pytest.approx(0.515, abs=5e-4)
    assert without == flops(published(system=mask_rcnn), 800, 1152, 1000, 0), "the rest is Mask R-CNN"


def test_the_matrix_is_orthonormal() -> None:
    matrix = cosine_matrix(128)
    assert (matrix @ matrix.T - torch.eye(128)).abs().max() < 1e-13


def test_zigzag_by_hand() -> None:
    assert zigzag(3) == [(0, 0), (0, 1), (1, 0), (2, 0), (1, 1), (0, 2), (1, 2), (2, 1), (2, 2)]
    assert {place for place in zigzag(128)[:300]} == {(i, j) for i in range(24) for j in range(24 - i)}


def test_the_code_is_the_cosine_transform() -> None:
    mask = star(7, depth=0.3).float()
    found = MaskDCT(size=128, dim=300).encode(mask[None])[0]
    expected = torch.from_numpy(dctn(mask.double().numpy(), norm="ortho"))
    wanted = torch.stack([expected[place] for place in zigzag(128)[:300]])
    torch.testing.assert_close(found.double(), wanted, atol=1e-4, rtol=0)
    assert found[0].item() == pytest.approx(mask.sum().item() / 128, rel=1e-5)


def test_all_coefficients_keep_everything() -> None:
    """Parseval: the code is as long as the mask; and back it is the mask."""
    dct = MaskDCT(size=16, dim=256)
    masks = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    code = dct.encode(masks)
    torch.testing.assert_close(code.square().sum(1), masks.square().sum((1, 2)))
    torch.testing.assert_close(dct.decode(code), masks, atol=1e-5, rtol=0)


def test_what_the_code_can_say_comes_back() -> None:
    """300 numbers to a mask of 128x128 and back."""
    dct = MaskDCT(size=128, dim=300)
    code = torch.randn(4, 300, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(dct.encode(dct.decode(code)), code, atol=1e-5, rtol=0)
    assert dct.encode(torch.zeros(0, 128, 128)).shape == (0, 300) and dct.decode(code[:0]).shape == (0, 128, 128)


def test_a_disc_survives_its_code() -> None:
    """The specification measured 0.994, and 0.931 with 36 coefficients."""
    mask = star(0)
    for dim, expected in ((300, 0.994), (36, 0.931)):
        dct = MaskDCT(size=128, dim=dim)
        assert iou(dct.decode(dct.encode(mask[None].float()))[0] > 0.5, mask) == pytest.approx(expected, abs=0.005)


def test_more_coefficients_say_more_of_a_star() -> None:
    mask = star(7, depth=0.3)
    found = [MaskDCT(size=128, dim=dim) for dim in (36, 150, 300, 1200)]
    found = [iou(dct.decode(dct.encode(mask[None].float()))[0] > 0.5, mask) for dct in found]
    assert found == sorted(found) and found[0] < 0.9 < found[2]


@pytest.mark.parametrize(
    ("distance", "of"),
    [("l1", abs), ("l2", lambda d: d * d), ("smooth_l1", lambda d: d * d / 2 if abs(d) < 1 else abs(d) - 0.5)],
)
def test_loss_is_that_of_a_plain_loop(distance, of, thin_scale) -> None:
    branch = dct_mask_branch(scale=thin_scale, dialect="d2", dim=5, size=8, distance=distance, weight=0.5)
    masks = torch.zeros(2, 32, 32, dtype=torch.uint8)
    masks[1, 8:24, 8:20] = 1
    boxes = torch.tensor([[0.0, 0.0, 32.0, 32.0], [8.0, 8.0, 20.0, 24.0]])
    labels = torch.tensor([1, 2])
    positives = Samples([boxes], [labels], [torch.tensor([1, 1])], [torch.zeros(2, dtype=torch.bool)])
    code = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))
    found = branch.loss(code, positives, [{"masks": masks, "to_original": (1.0, 1.0)}])
    cut = torch.zeros(2, 8, 8, dtype=torch.float64)
    cut[0, 2:6, 2:5], cut[1] = 1, 1  # the first box has 4 px a cell
    total = 0.0
    for row in range(2):
        spectrum = dctn(cut[row].numpy(), norm="ortho")
        total += sum(of(code[row, i].item() - spectrum[place]) for i, place in enumerate(zigzag(8)[:5]))
    assert found.item() == pytest.approx(0.5 * total / 2, rel=1e-4)


def test_the_first_loss_has_the_size_that_the_weight_was_made_for(branch) -> None:
    """A disc against coefficients near zero: some 2 to 3."""
    size = branch.dct.cosines.shape[1]
    code = branch.dct.encode(star(0).float()[None])
    assert size == 128 and branch.weight == 0.007
    assert 1.0 < branch.weight * code.abs().sum() < 4.0


def test_without_boxes_the_loss_is_nothing(branch) -> None:
    nothing = torch.zeros(0, dtype=torch.long)
    none = Samples([torch.zeros(0, 4)], [nothing], [nothing], [nothing.bool()])
    targets = [{"masks": torch.zeros(0, 64, 64), "to_original": (1.0, 1.0)}]
    features = [torch.randn(1, 4, side, side) for side in (16, 8, 4, 2)]
    losses = branch.losses(features, none, targets)
    assert losses["loss_mask"] == 0 and losses["loss_mask"].requires_grad


def test_masks_are_those_of_the_coefficients_whatever_the_class(branch) -> None:
    code = branch.dct.encode(star(0).float()[None])
    with torch.no_grad():
        branch.head.predictor.weight.zero_()
        branch.head.predictor.bias.copy_(code[0])
        masks = branch.masks(torch.randn(2, 4, 14, 14), torch.tensor([1, 2]))
    assert torch.equal(masks[0], masks[1]) and iou(masks[0] > 0.5, star(0)) > 0.99


def test_each_image_has_its_own_masks(branch) -> None:
    """The published code handles one image a call."""
    features = [torch.randn(2, 4, side, side) for side in (16, 8, 4, 2)]
    boxes = [torch.tensor([[4.0, 4.0, 40.0, 30.0]]), torch.tensor([[0.0, 0.0, 20.0, 20.0], [8.0, 8.0, 60.0, 60.0]])]
    found = [{"boxes": one, "labels": torch.ones(len(one), dtype=torch.long)} for one in boxes]
    with torch.no_grad():
        torch.nn.init.normal_(branch.head.predictor.weight)
        together = branch.inference(features, found)
        for image in range(2):
            (alone,) = branch.inference([level[image : image + 1] for level in features], found[image : image + 1])
            torch.testing.assert_close(together[image]["masks"], alone["masks"])
    assert [tuple(one["masks"].shape) for one in together] == [(1, 128, 128), (2, 128, 128)]


def test_codes_are_exact_under_autocast() -> None:
    dct = MaskDCT(size=128, dim=300)
    masks = star(7, depth=0.3).float()[None]
    expected = dct.encode(masks)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(dct.encode(masks), expected)
        assert dct.decode(expected.bfloat16()).dtype == torch.float32
    assert math.isfinite(expected.sum().item())


@pytest.mark.parametrize(
    ("switches", "message"),
    [
        ({"dct_loss": "bce"}, "dct_loss must be one of l1, smooth_l1, l2, not 'bce'"),
        ({"dct_dim": 65, "dct_size": 8}, "dct_dim must be 1 to 64"),
        ({"dct_dim": 0}, "dct_dim must be 1 to 16384"),
    ],
)
def test_unknown_switches_are_named(switches, message) -> None:
    with pytest.raises(ValueError, match=message):
        on_meta(
            lambda: dct_mask.build(
                num_classes=1, backbone="resnet50", scale=Scale(), input_size=InputSize(), **switches
            )
        )
