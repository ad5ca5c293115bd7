"""Location attention whole: the counts of its ladder, every component and switch in training, its tables."""

import dataclasses
from importlib import resources

import pytest
import torch

from reprolib.evaluation.cost import count_parameters, flops, on_meta
from reprolib.models.input_transform import InputSize
from reprolib.models.systems.solov2 import model as solov2
from reprolib.papers.location_attention import model as location_attention
from reprolib.papers.location_attention.switches import CHOICES, COMPONENTS, Switches
from reprolib.papers.location_attention.tables import TABLES
from reprolib.papers.reported import load_table
from reprolib.params import Scale

PUBLISHED = {"num_classes": 80, "backbone": "resnet50", "scale": Scale(pretrained=False), "input_size": InputSize()}
THIN = Scale(
    backbones={"resnet50": "test_resnet", "resnet101": "test_resnet"},
    norm="group",
    pretrained=False,
    frozen_stages=0,
    channels=32,
    anchor_sizes=(8, 16, 32, 64, 128),
    detections=10,
    score_threshold=0.001,
)
SMALL = {
    "num_classes": 2,
    "backbone": "resnet50",
    "scale": THIN,
    "input_size": InputSize(min_sizes=(64,), test_size=64, max_size=64),
}


def published(components, **switches):
    return on_meta(lambda: location_attention.build(components=components, **PUBLISHED, **switches))


def thin(components=COMPONENTS, **switches):
    torch.manual_seed(0)
    return location_attention.build(components=components, **SMALL, **switches)


def batch():
    """Two images of two objects that share cells; the first is nearer to the middle, where masks start."""
    images = [torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(index)) for index in range(2)]
    boxes = torch.tensor([[24.0, 20.0, 48.0, 44.0], [16.0, 16.0, 40.0, 40.0]])
    masks = torch.zeros(2, 64, 64, dtype=torch.uint8)
    masks[0, 20:44, 24:48], masks[1, 16:40, 16:40] = 1, 1
    targets = [{"boxes": boxes, "labels": torch.tensor([1, 2]), "masks": masks, "image_id": i} for i in range(2)]
    return images, targets


def step(model):
    model.train().zero_grad(set_to_none=True)
    losses = model(*batch())
    sum(losses.values()).backward()
    return losses


def untrained(model):
    return [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]


LADDER = {
    (): 46_592_912,
    ("cspam",): 46_592_912 - 23_508_032 + 19_540_995,
    ("twfpn+csmf",): 50_165_904,
    ("aml",): 46_592_912,
    ("cspam", "twfpn+csmf"): 46_198_867,
    ("twfpn+csmf", "aml"): 50_165_904,
    ("cspam", "aml"): 46_592_912 - 23_508_032 + 19_540_995,
    COMPONENTS: 46_198_867,
}


@pytest.mark.parametrize(("components", "expected"), LADDER.items(), ids=lambda value: "+".join(map(str, [value])))
def test_parameters_of_table_1(components, expected):
    """Specification, section 8; the matching has none."""
    assert count_parameters(published(components))["params"] == expected


def test_a_row_of_table_1_is_its_components():
    rows = {row.number: row.experiment for row in TABLES[0].rows}
    printed = {cell.row: cell.components for cell in load_table("location_attention", 1)}
    for number, experiment in rows.items():
        assert experiment.components == tuple(name.lower() for name in printed[number])
        assert (experiment.dataset, experiment.schedule) == ("coco", "location_attention")
        assert experiment.backbone == "resnet50"
    assert rows[1].module == "reprolib.models.systems.solov2.model"
    assert {experiment.components for experiment in rows.values()} == set(LADDER)


def test_the_full_method_computes_less_than_with_a_resnet():
    """Specification, section 2.1: 68.1 against 69.7 GMAC for the backbone at 1216 x 704."""
    with_resnet, with_cspam = (
        flops(published(components), 704, 1216, 0, 10) / 1e9 for components in (("twfpn+csmf",), COMPONENTS[:2])
    )
    assert with_resnet - with_cspam == pytest.approx(69.7 - 68.1, abs=0.1)


def test_without_components_it_is_solov2():
    torch.manual_seed(0)
    theirs, ours = solov2.build(**SMALL), thin(())
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, theirs.state_dict()[name], rtol=0, atol=0)
    assert {name: loss.item() for name, loss in step(ours).items()} == {
        name: loss.item() for name, loss in step(theirs).items()
    }


@pytest.mark.parametrize("components", LADDER, ids="+".join)
def test_every_row_trains_all_its_parameters(components):
    model = thin(components)
    losses = step(model)
    assert losses.keys() == {"loss_category", "loss_mask"}
    assert all(loss.isfinite() and loss > 0 for loss in losses.values()) and not untrained(model)


VALUES = [(name, value) for name, allowed in CHOICES.items() for value in allowed]
VALUES += [(f.name, value) for f in dataclasses.fields(Switches) if f.type == "bool" for value in (True, False)]
VALUES += [("eps_clip", 0), ("eps_clip", 0.5)]


@pytest.mark.parametrize(("name", "value"), VALUES, ids=str)
def test_every_value_of_every_switch_trains_a_step(name, value):
    components = ("twfpn+csmf",) if name == "collision" else COMPONENTS
    # Nothing is fetched: the thin scale asks for no weights.
    model = thin(components, **{name: value})
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    first = step(model)
    optimizer.step()
    assert not untrained(model) and all(loss.isfinite() for loss in first.values())
    assert all(loss.isfinite() for loss in step(model).values())


def test_the_matching_changes_what_is_learnt():
    """In these images cells have two candidates. With SOLOv2's dice, only what cells learn is another."""
    least = step(thin(("aml",), aml_dice="solov2"))
    for collision in ("both_masks", "last_wins"):
        theirs = step(thin((), collision=collision))
        assert all(least[name].item() != theirs[name].item() for name in least)


def test_the_sigmoid_form_is_between_one_and_two():
    assert 1 <= sum(step(thin(aml_train="sigmoid")).values()) < 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"components": ("csp",)}, "no component 'csp'; there are cspam"),
        ({"theta": 0}, "no switch 'theta'; there are csp_impl"),
        ({"csp_impl": "darknet"}, "csp_impl must be one of split_resnet, timm_cspresnet50"),
        ({"pam_stages": "3"}, "pam_stages must be one of none, 5, 45, 345, 2345"),
        ({"eps_clip": -1}, "eps_clip must be a positive number"),
        ({"eps_clip": float("inf")}, "eps_clip must be a positive number"),
        ({"pam_outer_residual": "yes"}, "pam_outer_residual must be true or false"),
        ({"head_inputs": "P", "csmf_levels_from": "P"}, "nothing reads the bottom-up path"),
    ],
    ids=str,
)
def test_nonsense_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        published(**{"components": COMPONENTS} | arguments)


def test_the_card_explains_every_switch():
    card = (resources.files("reprolib.papers.location_attention") / "card.md").read_text()
    names = [*(field.name for field in dataclasses.fields(Switches)), *COMPONENTS]
    assert [name for name in names if f"`{name}`" not in card] == []
    assert "not built" not in card
