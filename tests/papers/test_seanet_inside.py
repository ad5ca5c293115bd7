"""What SEANet's notebook shows: the numbers are those that the network computes with."""

import math

import pytest
import torch
from torch import nn
from torchvision.ops import batched_nms, clip_boxes_to_image

from reprolib.evaluation.cost import on_meta
from reprolib.models.input_transform import InputSize
from reprolib.models.systems.mask_rcnn import model as mask_rcnn
from reprolib.papers.seanet import model as seanet
from reprolib.papers.seanet.diagram import network_diagram
from reprolib.papers.seanet.inside import (
    block_shapes,
    box_loss_difference,
    box_view,
    edge_targets,
    edge_weight_difference,
    found_boxes,
    iou_factor_difference,
    mask_view,
    on_image,
    scores_and_ious,
)
from reprolib.papers.seanet.switches import COMPONENTS
from reprolib.params import Scale

PUBLISHED = {"num_classes": 80, "backbone": "resnet101", "scale": Scale(pretrained=False), "input_size": InputSize()}
THIN = Scale(
    backbones={"resnet101": "resnet10t"},
    norm="batch",
    pretrained=False,
    frozen_stages=0,
    channels=16,
    box_hidden=16,
    rpn_pre_nms=(20, 20),
    rpn_post_nms=(20, 20),
    score_threshold=1e-6,
)
SMALL = InputSize(min_sizes=(60,), test_size=60, max_size=64)
SIZE = {"height": 800, "width": 1088}
BOX = torch.tensor([8.0, 12.0, 40.0, 30.0])
LADDER = ((), ("biou",), ("attention",), ("biou", "attention"), ("attention", "edge"), COMPONENTS)


def published(components=COMPONENTS, **switches):
    return on_meta(lambda: seanet.build(components=components, **PUBLISHED, **switches))


@pytest.fixture(scope="module")
def model():
    """With weights that make no block an identity and no map even, as many are before training."""
    torch.manual_seed(0)
    built = seanet.build(components=COMPONENTS, num_classes=3, backbone="resnet101", scale=THIN, input_size=SMALL)
    for parameter in built.parameters():
        nn.init.normal_(parameter, std=0.1)
    return built.eval()


@pytest.fixture
def image():
    """30x32, which is enlarged to 60x64 and padded."""
    return torch.rand((3, 30, 32), generator=torch.Generator().manual_seed(0))


def test_shapes_of_the_published_blocks():
    rows = {row["block"]: row for row in block_shapes(published(), **SIZE)}
    assert (rows["box RoI: fusion of levels"]["input"], rows["box RoI: fusion of levels"]["parameters"]) == (
        "1024×7×7",
        328_192,
    )
    assert rows["B-IoU tower"]["input"] == "512×7×7" and rows["B-IoU tower"]["parameters"] == 2_951_168
    assert [rows[name]["output"] for name in ("class scores", "distances", "IoU")] == ["80×7×7", "4×7×7", "1×7×7"]
    assert rows["channel attention: 5×5, 5×5"]["output"] == "256×6×6"
    assert rows["edge map"]["output"] == "1×28×28" and rows["masks"]["output"] == "81×28×28"
    added = [row["parameters"] for name, row in rows.items() if name.startswith(("channel", "edge", "position"))]
    assert sum(added) + rows["mask: concat, 1×1, 1×1"]["parameters"] + rows["mask + edge, 1×1"]["parameters"] == (
        6_843_714  # what the mask head has beyond Mask R-CNN's
    )
    assert sum(row["parameters"] for row in rows.values()) == sum(
        parameter.numel() for parameter in published().roi_heads.parameters()
    )


def test_blocks_of_the_frameworks():
    plain = {row["block"] for row in block_shapes(on_meta(lambda: mask_rcnn.build(dialect="mm", **PUBLISHED)), **SIZE)}
    assert plain == {
        "box head, fully connected",
        "classes and deltas",
        "mask: 4 convolutions",
        "mask: deconvolution",
        "masks",
    }
    scoring = {row["block"] for row in block_shapes(published((), host="mask_scoring_rcnn"), **SIZE)}
    assert scoring - plain == {"box RoI: fusion of levels", "mask RoI: fusion of levels", "mask IoU head"}


@pytest.mark.parametrize("components", LADDER, ids=lambda parts: "+".join(parts) or "fusion")
@pytest.mark.parametrize("host", ["mask_rcnn", "mask_scoring_rcnn"])
def test_the_diagram_shows_what_is_there(components, host):
    diagram = network_diagram(published(components, host=host), **SIZE)
    texts = {block.name: block.text for block in diagram.blocks}
    assert ("score × IoU" in texts) == ("biou" in components) != ("2 fully connected" in texts)
    assert ("sum, 1×1" in texts) == ("attention" in components)
    assert texts.get("edge map", "").endswith("L_edge") == ("edge" in components)
    assert ("mask IoU head" in texts) == (host == "mask_scoring_rcnn")
    assert texts["RoIAlign for boxes"] == "1024×7×7" and texts["masks"] == "81×28×28"
    reached = {flow.target for flow in diagram.flows}
    assert {block.name for block in diagram.blocks if block.kind != "pyramid"} <= reached


def test_the_diagram_follows_the_switches():
    texts = {block.name: block.text for block in network_diagram(published(edge_fuse="concat"), **SIZE).blocks}
    assert texts["concat, 1×1"] == "512×28×28 → 256×28×28"
    single = network_diagram(published(roi_fusion="single_level"), **SIZE)
    assert {block.name: block.text for block in single.blocks}["RoIAlign for boxes"] == "256×7×7"


def test_the_cells_shown_are_those_that_detect(model, image):
    """The best cell's box and score are the head's answer for the proposal, in the pixels of the image given."""
    view = box_view(model, image, BOX / 2)
    assert view.scores.shape == (3, 7, 7) and view.iou.shape == (7, 7) and view.boxes.shape == (7, 7, 4)
    final = view.scores * view.iou
    row, column = view.by_final
    assert final[:, row, column].max() == final.max()
    assert view.scores[:, *view.by_class].max() == view.scores.max()
    assert (view.iou.std() > 0) and (view.points[0, 1, 0] > view.points[0, 0, 0])
    # Row by row, from left to right, spread over the proposal.
    torch.testing.assert_close(view.points[3, 3], (view.proposal[:2] + view.proposal[2:]) / 2)
    inside = (view.boxes[..., :2] < view.points) & (view.points < view.boxes[..., 2:])
    assert inside.all()
    # Left alone with this proposal, the model finds this box.
    batch, features = model.transform([image], None)[0], None
    features = model.neck(model.backbone(batch.tensors))
    (found,) = model.roi_heads.box_inference(features, None, [2 * view.proposal[None]], batch.image_sizes)
    box = clip_boxes_to_image(view.boxes[row, column], (30, 32))
    torch.testing.assert_close(found["boxes"][0] / 2, box)
    torch.testing.assert_close(found["scores"][0], final.max())


def test_the_proposal_is_the_one_that_fits_best(model, image):
    batch = model.transform([image], None)[0]
    proposals = model.rpn(batch, model.neck(model.backbone(batch.tensors)))[0][0] / 2
    for wanted in proposals[[0, 5, 11]]:
        torch.testing.assert_close(box_view(model, image, wanted).proposal, wanted)


def test_masks_edges_and_attention_are_those_of_the_head(model, image):
    boxes, labels = torch.stack([BOX / 2, BOX / 4]), torch.tensor([2, 3])
    view = mask_view(model, image, boxes, labels)
    batch = model.transform([image], None)[0]
    branch, features = model.roi_heads.mask_branch, model.neck(model.backbone(batch.tensors))
    found = branch.inference(features, [{"boxes": 2 * boxes, "labels": labels}])
    torch.testing.assert_close(view.masks, found[0]["masks"])
    roi = branch.roi_features(features, [2 * boxes])
    torch.testing.assert_close(view.edges, branch.head.with_edges(roi)[1].sigmoid())
    torch.testing.assert_close(roi * view.gates[..., None, None], branch.head.channel_attention(roi))
    position = branch.head.position_attention
    read = torch.einsum("rij,rcj->rci", view.attention, position.value(roi).flatten(2)).unflatten(2, (14, 14))
    torch.testing.assert_close(position(roi), position.gamma * read + roi)


def test_edges_of_a_square_with_their_weight():
    masks = torch.zeros((1, 32, 32), dtype=torch.uint8)
    masks[0, 4:20, 4:20] = 1
    targets = edge_targets(masks, torch.tensor([[0.0, 0.0, 28.0, 28.0]]), scope="formula_roi")
    assert torch.equal(targets.masks[0], masks[0, :28, :28].float())
    assert targets.edges.sum() == 4 * 15 and targets.edges[0, 5:19, 5:19].sum() == 0
    assert targets.weights.max() == pytest.approx(1 / math.log(1.2 + 60 / 784))
    assert targets.weights[0, 0, 0] == 1
    two = edge_targets(masks, torch.tensor([[0.0, 0.0, 28.0, 28.0]]), scope="const5", thickness=2)
    assert two.edges.sum() == 16**2 - 12**2 and two.weights.max() == 5


def test_maps_are_pasted_where_their_boxes_are():
    maps = torch.stack([torch.ones(2, 2), torch.full((2, 2), 0.5)])
    pasted = on_image(maps, torch.tensor([[2.0, 1.0, 6.0, 5.0], [4.0, 1.0, 8.0, 5.0]]), height=6, width=9)
    assert pasted.shape == (6, 9)
    assert pasted[3, 3:5].tolist() == [1, 1] and pasted[3, 6] == 0.5
    assert pasted[0].sum() == pasted[:, 8].sum() == pasted[:, :2].sum() == 0
    left, right = torch.tensor([[0.0, 1.0]]).expand(2, 2), torch.tensor([[0.0, 0.0, 4.0, 4.0]])
    assert on_image(left[None], right, height=4, width=4)[1].diff().min() >= 0


def test_boxes_without_their_iou(model, image):
    with_iou, without = (found_boxes(model, image, use_iou_score=use) for use in (True, False))
    assert model.roi_heads.box_stage.switches.use_iou_score  # left as it was
    whole = model([image])[0]
    for key in ("boxes", "labels", "scores"):
        torch.testing.assert_close(with_iou[key], whole[key])
    assert without["scores"].max() > with_iou["scores"].max()
    kept = batched_nms(without["boxes"], without["scores"], without["labels"], 0.6)
    assert len(kept) == len(without["boxes"]) > 0


def test_scores_meet_the_nearest_object_of_their_class():
    found = [
        {
            "boxes": torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 4.0]]),
            "labels": torch.tensor([1, 2]),
            "scores": torch.tensor([0.9, 0.8]),
        },
        {"boxes": torch.ones(1, 4), "labels": torch.tensor([1]), "scores": torch.tensor([0.1])},
    ]
    targets = [
        {"boxes": torch.tensor([[0.0, 0.0, 4.0, 2.0], [0.0, 0.0, 1.0, 4.0]]), "labels": torch.tensor([1, 1])},
        {"boxes": torch.zeros((0, 4)), "labels": torch.zeros(0, dtype=torch.long)},
    ]
    scores, ious = scores_and_ious(found, targets)
    torch.testing.assert_close(scores, torch.tensor([0.9, 0.8, 0.1]))
    assert ious.tolist() == [0.5, 0, 0]


def test_where_paper_and_code_differ():
    loss = box_loss_difference(torch.tensor([-0.5, 0.0, 0.5, 1.0]))
    torch.testing.assert_close(loss.paper, -((loss.x + 1) / 2).log())
    torch.testing.assert_close(loss.code, loss.paper.clamp(max=math.log(2)), atol=1e-5, rtol=0)
    factor = iou_factor_difference(torch.tensor([0.1, 0.5, 0.9]))
    torch.testing.assert_close(factor.paper, factor.x)
    torch.testing.assert_close(factor.code, factor.x.sigmoid())
    weight = edge_weight_difference([8, 39, 110])
    torch.testing.assert_close(weight.paper, 1 / (1.2 + weight.x).log())
    assert weight.code.tolist() == [5, 5, 5]
