"""PolarMask: counts, outlines and rays of known shapes, losses by hand, polygons, switches."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from reprolib.evaluation.cost import count_parameters, on_meta
from reprolib.models.input_transform import InputSize
from reprolib.models.one_stage.fcos_targets import make_locations
from reprolib.models.systems.polarmask import model as polarmask
from reprolib.models.systems.polarmask.outlines import outlines, polygon_centroid
from reprolib.models.systems.polarmask.polar_rays import polar_centreness, polar_iou_loss, polygons_of, rays_to
from reprolib.models.systems.polarmask.polygons import fill_polygons
from reprolib.params import Scale


def published(backbone="resnet50", num_classes=80, **switches):
    arguments = {"num_classes": num_classes, "backbone": backbone, "scale": Scale(), "input_size": InputSize()}
    return on_meta(lambda: polarmask.build(**arguments | switches))


@pytest.mark.parametrize(("backbone", "count"), [("resnet50", 34_739_651), ("resnet101", 53_731_779)])
def test_parameters_are_as_counted(backbone, count):
    assert count_parameters(published(backbone))["params"] == count


def test_parameters_by_part():
    model = published()
    assert count_parameters(model.head)["params"] == 7_362_947
    assert count_parameters(model.neck)["params"] == 3_868_672
    fewer = published(num_classes=79)
    assert count_parameters(model)["params"] - count_parameters(fewer)["params"] == 2_305


def disc(radius, *, centre=(40.0, 36.0), size=(80, 90)):
    rows, columns = torch.arange(size[0])[:, None] + 0.5, torch.arange(size[1])[None] + 0.5
    return ((columns - centre[0]) ** 2 + (rows - centre[1]) ** 2 < radius**2).to(torch.uint8)


@pytest.mark.parametrize("radius", [5, 12, 30])
def test_rays_of_a_disc_from_its_centre_are_its_radius(radius):
    (outline,) = outlines(disc(radius)[None])
    rays = rays_to(outline.points, torch.tensor([[40.0, 36]]))
    assert rays.shape == (1, 36) and (rays - radius).abs().max() < 1
    assert polar_centreness(rays).item() > 0.85
    torch.testing.assert_close(outline.centre, torch.tensor([40.0, 36]), atol=1e-4, rtol=0)


def test_rays_from_a_place_off_the_centre():
    (outline,) = outlines(disc(30)[None])
    rays = rays_to(outline.points, torch.tensor([[55.0, 36]]))[0]
    # Degrees turn from y towards x: ray 0 goes down, ray 9 to the right.
    assert rays[9].item() == pytest.approx(15, abs=1) and rays[27].item() == pytest.approx(45, abs=1)
    assert rays[0].item() == pytest.approx(math.sqrt(30**2 - 15**2), abs=1)
    assert polar_centreness(rays[None]).item() == pytest.approx(math.sqrt(15 / 45), abs=0.03)


def rays_by_loops(outline, x, y):
    at = {}
    for px, py in outline.tolist():
        degree = int(math.degrees(math.atan2(px - x, py - y)) % 360)
        at[degree] = max(at.get(degree, 0.0), math.hypot(px - x, py - y))
    tries = (0, 1, -1, 2, -2, 3, -3)
    return [next((at[(ray + t) % 360] for t in tries if (ray + t) % 360 in at), 1e-6) for ray in range(0, 360, 10)]


def test_rays_equal_plain_loops():
    generator = torch.Generator().manual_seed(0)
    outline = torch.rand((60, 2), generator=generator) * 40
    points = torch.rand((5, 2), generator=generator) * 40
    found = rays_to(outline, points)
    expected = torch.tensor([rays_by_loops(outline, *point) for point in points.tolist()])
    torch.testing.assert_close(found, expected)
    assert (found == 1e-6).any() and (found > 1).any()


def test_the_next_degrees_are_tried_in_the_published_order():
    def at(*degrees):
        angles = torch.tensor(degrees).deg2rad()
        lengths = 10.0 + torch.arange(len(degrees))
        return torch.stack([angles.sin(), angles.cos()], dim=1) * lengths[:, None]

    origin = torch.zeros(1, 2)
    assert rays_to(at(11.5, 9.5), origin)[0, 1].item() == pytest.approx(10)  # one more before one less
    assert rays_to(at(12.5, 9.5), origin)[0, 1].item() == pytest.approx(11)  # one less before two more
    assert rays_to(at(10.2, 10.7), origin)[0, 1].item() == pytest.approx(11)  # the furthest of the same degree
    assert rays_to(at(357.5, 2.5), origin)[0, 0].item() == pytest.approx(11)  # two more before three less
    assert rays_to(at(14.5), origin)[0, 1].item() == pytest.approx(1e-6)


def test_the_largest_part_is_outlined_without_its_holes():
    mask = disc(20)
    whole = outlines(mask[None])[0]
    mask[30:40, 34:44] = 0
    mask[2:6, 2:6] = 1
    holed = outlines(mask[None])[0]
    assert torch.equal(whole.points, holed.points) and torch.equal(whole.centre, holed.centre)


def test_an_empty_mask_has_no_outline():
    assert outlines(torch.zeros(0, 8, 8)) == []
    (outline,) = outlines(torch.zeros(1, 8, 8))
    assert outline.points.shape == (0, 2) and outline.centre.isnan().all()


def shoelace(points):
    """Area and centroid of a polygon."""
    x, y = (np.array([point[axis] for point in points], dtype=float) for axis in (0, 1))
    cross = x * np.roll(y, -1) - np.roll(x, -1) * y
    area = cross.sum() / 2
    return [((one + np.roll(one, -1)) * cross).sum() / (6 * area) for one in (x, y)]


def test_the_centroid_is_that_of_the_polygon_through_the_border():
    """Not of the pixels: an L and a staircase, whose polygons are written out."""
    region = np.zeros((6, 7), dtype=bool)
    region[:, :3] = region[4:, :] = True
    border = [(0, 0), (2, 0), (2, 3), (3, 4), (6, 4), (6, 5), (0, 5)]
    np.testing.assert_allclose(polygon_centroid(region).numpy(), shoelace(border), rtol=1e-6)
    stairs = np.tri(4, dtype=bool)
    np.testing.assert_allclose(polygon_centroid(stairs).numpy(), shoelace([(0, 0), (3, 3), (0, 3)]), rtol=1e-6)
    line = np.ones((1, 5), dtype=bool)
    assert polygon_centroid(line).tolist() == [2, 0]


def test_polar_iou_loss():
    wanted = torch.full((2, 36), 7.0)
    assert polar_iou_loss(wanted, wanted).tolist() == [0, 0]
    torch.testing.assert_close(polar_iou_loss(2 * wanted, wanted), torch.full((2,), math.log(2)))
    torch.testing.assert_close(polar_iou_loss(wanted, 2 * wanted), torch.full((2,), math.log(2)))


def test_a_convex_shape_comes_back():
    mask = disc(25)
    (outline,) = outlines(mask[None])
    for point in ((40.0, 36.0), (46.0, 30.0)):
        point = torch.tensor([point])
        found = fill_polygons(polygons_of(point, rays_to(outline.points, point), size=(80, 90)), (80, 90))[0]
        wanted = mask.bool()
        assert (found & wanted).sum() / (found | wanted).sum() > 0.95


def test_polygons_are_filled_where_pixels_centres_lie_inside():
    box = torch.tensor([[2.0, 1], [6, 1], [6, 4], [2, 4]])
    triangle = torch.tensor([[0.0, 0], [8, 0], [0, 8], [0, 4]])
    expected = torch.zeros(2, 6, 9, dtype=torch.bool)
    expected[0, 1:4, 2:6] = True
    for row in range(6):
        for column in range(9):
            expected[1, row, column] = row + column + 1 < 8
    assert torch.equal(fill_polygons(torch.stack([box, triangle]), (6, 9)), expected)
    assert fill_polygons(torch.zeros(0, 36, 2), (6, 9)).shape == (0, 6, 9)


def test_corners_stay_in_the_image():
    corners = polygons_of(torch.tensor([[5.0, 5]]), torch.full((1, 36), 100.0), size=(20, 30))
    assert corners.amin() == 0 and corners[..., 0].max() == 30 and corners[..., 1].max() == 20


@pytest.fixture
def build(thin_scale, input_size):
    def built(**switches):
        torch.manual_seed(0)
        arguments = {"num_classes": 2, "backbone": "resnet50", "scale": thin_scale, "input_size": input_size}
        return polarmask.build(**arguments | switches)

    return built


def target_of(mask, box, to_original=(1.0, 1.0)):
    return {
        "boxes": torch.tensor([box]),
        "labels": torch.tensor([2]),
        "masks": mask[None],
        "to_original": to_original,
    }


def test_what_locations_learn_is_in_pixels_of_the_batch(build):
    head, locations = (
        build().head,
        make_locations([(10, 12), (5, 6), (3, 3), (2, 2), (1, 1)], device=torch.device("cpu")),
    )
    mask = disc(20, centre=(41.0, 37.0))
    positives, rays = head.positives(locations, target_of(mask, [21.0, 17, 61, 57]))
    assert len(positives.rows) == 9 and (positives.labels == 2).all()  # of stride 8, within 12 px of (41, 37)
    larger = mask.repeat_interleave(2, 0).repeat_interleave(2, 1)
    again, same_rays = head.positives(locations, target_of(larger, [21.0, 17, 61, 57], (2.0, 2.0)))
    assert torch.equal(again.rows, positives.rows) and torch.equal(again.sides, positives.sides)
    torch.testing.assert_close(same_rays, rays)


def test_centres_are_those_of_the_outlines_not_of_the_boxes(build):
    mask = torch.zeros(80, 96, dtype=torch.uint8)
    mask[10:70, 10:20] = mask[60:70, 10:90] = 1
    head, locations = build().head, make_locations([(10, 12)] + [(1, 1)] * 4, device=torch.device("cpu"))
    positives, _ = head.positives(locations, target_of(mask, [10.0, 10, 90, 70]))
    (outline,) = outlines(mask[None])
    assert outline.centre[0] < 40 < 50 and outline.centre[1] > 45
    distance = (locations.points[positives.rows] - outline.centre).abs().amax(1)
    assert len(distance) and (distance[locations.strides[positives.rows] == 8] < 12).all()


def test_small_instances_are_not_learnt(build):
    """Under 10 px of the image in both directions, or of at most 15 px area; in thin profiles a quarter and so on."""
    locations = make_locations([(10, 12), (5, 6), (3, 3), (2, 2), (1, 1)], device=torch.device("cpu"))
    mask = torch.zeros(80, 96, dtype=torch.uint8)
    mask[32:40, 32:40] = 1
    target = target_of(mask, [32.0, 32, 40, 40])
    head = build().head

    def learning(target):
        return len(head.positives(locations, target)[0].rows)

    assert head.smaller == 0.25 and learning(target) == 1
    head.smaller = 1.0
    assert not learning(target)
    target["boxes"] = torch.tensor([[32.0, 32, 43, 40]])
    assert learning(target) == 1
    enlarged = target_of(mask, [32.0, 32, 40, 40], (1.5, 1.5))
    enlarged["masks"] = F.pad(torch.ones(1, 12, 12, dtype=torch.uint8), (48, 84, 48, 60))
    assert learning(enlarged), "of 12 px in the image itself"
    shrunk = target | {"to_original": (0.8, 0.8)}
    assert not learning(shrunk), "of 9 px in the image itself"
    mask[:] = 0
    mask[34:37, 34:39] = 1
    assert not learning(target)


def test_switches(build):
    assert build(rays=72).head.rays.out_channels == 72
    for rays in (2, 7, 720):
        with pytest.raises(ValueError, match="rays must be a divisor of 360"):
            build(rays=rays)
    with pytest.raises(ValueError, match="polar_nms must be one of box, mask, not 'mask_box'"):
        build(polar_nms="mask_box")
    model = build(keep_ratio=False).eval()
    batch, _ = model.transform([torch.rand(3, 50, 90)])
    assert batch.image_sizes == [(64, 64)]


def test_boxes_may_be_those_around_the_masks(build):
    model = build(polar_nms="mask").eval()
    torch.nn.init.constant_(model.head.rays.bias, math.log(9))
    torch.nn.init.constant_(model.head.classes.bias, 2)
    with torch.inference_mode():
        (found,) = model([torch.rand(3, 64, 64)])
    rows, columns = found["masks"][0].any(1).nonzero(), found["masks"][0].any(0).nonzero()
    around = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    assert (found["boxes"][0] - around).abs().max() <= 1


def test_the_bias_of_centreness_raises_what_lies_off_the_centre(build):
    scores = []
    for bias in (0.0, 0.5):
        model = build(polar_centreness_bias=bias).eval()
        torch.nn.init.constant_(model.head.classes.bias, 2)
        torch.nn.init.constant_(model.head.centreness.bias, -2)
        with torch.inference_mode():
            scores.append(model([torch.zeros(3, 64, 64)])[0]["scores"].max().item())
    assert scores[1] > 2 * scores[0] and scores[1] < 1
