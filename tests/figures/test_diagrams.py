"""Networks and feature maps as pictures."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from reprolib.figures.ablation_gains import ablation_gains
from reprolib.figures.feature_maps import Panel, panel_grid, tinted_cells
from reprolib.figures.network import draw_network
from reprolib.figures.pictures import COLOURS
from reprolib.models.drawing.diagram import Block, Diagram, Flow
from reprolib.tables.layout import ablation_label
from reprolib.tables.render import read_table

BLOCKS = (
    Block(name="a", text="3×4×4", x=0, y=0, kind="first"),
    Block(name="b", text="8×4×4", x=2, y=1, kind="first"),
    Block(name="c", text="", x=1, y=3, kind="", span=2),
)


def pixels(picture) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture.png)).convert("RGB")).astype(int)


def test_a_diagram_is_drawn_the_same_each_time():
    flows = (
        Flow(source="a", target="b", label="maps"),
        Flow(source="first", target="c", dashed=True),
        Flow(source="b", target="c", via=((3, 1), (3, 3))),
    )
    picture = draw_network(Diagram(blocks=BLOCKS, flows=flows), title="title", note="note")
    assert picture.png == draw_network(Diagram(blocks=BLOCKS, flows=flows), title="title", note="note").png
    without = draw_network(Diagram(blocks=BLOCKS, flows=flows[:2]), title="title", note="note")
    assert picture.png != without.png


@pytest.mark.parametrize(
    ("blocks", "flow", "message"),
    [
        (BLOCKS + BLOCKS[:1], Flow(source="a", target="b"), "two blocks of the diagram are called 'a'"),
        (BLOCKS, Flow(source="a", target="d"), "an arrow names 'd'; the diagram has a, b, c"),
        (BLOCKS, Flow(source="a", target="first"), "an arrow names 'first'"),
    ],
    ids=["twice", "unknown", "to a frame"],
)
def test_diagrams_that_do_not_fit_together_are_refused(blocks, flow, message):
    with pytest.raises(ValueError, match=message):
        Diagram(blocks=blocks, flows=(flow,))


def test_long_texts_are_made_small_enough_for_their_box():
    """Nothing is written beyond the box's edges."""
    long = Block(name="a name that is too wide", text="512×14×14 → 1×28×28, twice", x=0, y=0, kind="")
    found = pixels(draw_network(Diagram(blocks=(long,), flows=())))
    columns = np.where((found.sum(-1) < 300).any(0))[0]  # dark: edges and letters
    edge = np.where((abs(found - 0x55).sum(-1) < 60).sum(0) > 30)[0]  # the box's upright sides
    assert edge.min() <= columns.min() and columns.max() <= edge.max()


def test_panels_share_a_scale_or_have_their_own():
    ramp = np.array([[0.0, 1.0]])
    own = pixels(panel_grid([[Panel(title="own", values=ramp)]]))
    shared = pixels(panel_grid([[Panel(title="own", values=ramp, low=0, high=100)]]))
    yellow = np.array([253, 231, 37])  # the upper end of the scale
    assert (abs(own - yellow).sum(-1) < 12).any() and not (abs(shared - yellow).sum(-1) < 12).any()


def test_panels_carry_marks_boxes_numbers_and_bars():
    image = np.zeros((20, 30, 3), dtype=np.uint8)
    plain = [
        [Panel(title="image", values=image)],
        [Panel(title="a", values=np.eye(3)), Panel(title="b", values=np.eye(3))],
    ]
    rich = [
        [Panel(title="image", values=image, box=(2, 3, 9, 12), square=True)],
        [
            Panel(title="a", values=np.eye(3), mark=(1, 1), bar=True),
            Panel(title="b", values=np.eye(3), numbers="{:.1f}"),
        ],
    ]
    orange = np.array([213, 94, 0])
    assert not (abs(pixels(panel_grid(plain)) - orange).sum(-1) < 30).any()
    assert (abs(pixels(panel_grid(rich)) - orange).sum(-1) < 30).sum() > 100
    assert panel_grid(rich).png == panel_grid(rich).png


def test_several_boxes_have_colours_of_their_own():
    image = np.zeros((60, 60, 3), dtype=np.uint8)
    boxes = [("0.91", (5, 10, 30, 40)), ("", (20, 25, 55, 55))]
    found = pixels(panel_grid([[Panel(title="image", values=image, boxes=boxes)]]))
    counts = [(abs(found - np.array(colour)).sum(-1) < 30).sum() for colour in ((213, 94, 0), (0, 114, 178))]
    assert min(counts) > 100


def test_a_long_note_below_a_narrow_figure_takes_nothing_from_the_panels():
    panel = Panel(title="image", values=np.zeros((20, 20, 3), dtype=np.uint8))
    heights = []
    for note in ("Short.", "A note that is long. " * 12):
        dark = (pixels(panel_grid([[panel] * 2, [panel] * 2], note=note)).sum(-1) < 30)[:, :150]
        heights.append(int(dark[:, 75].sum()))
    assert heights[1] >= heights[0] - 2


def test_rows_that_lack_a_component_are_named_by_it(root):
    rows, _, _ = read_table("mai_se_net-3", "demo", params=root / "params.yaml")
    base = next(row for row in rows if row.is_baseline)
    assert ablation_label(rows[0], base) == "without ASPP"
    rows, _, _ = read_table("mai_se_net-1", "demo", params=root / "params.yaml")
    assert ablation_label(rows[2], rows[0]) == "ASPP + NLB"
    assert ablation_gains(rows).png


def test_cells_have_the_colour_of_their_number():
    image = np.full((5, 8, 3), 100, np.uint8)
    tinted = tinted_cells(image, np.array([[0, 1], [7, 2]]), share=1)
    first, second = ([int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in COLOURS[:2])
    assert (tinted[:3, :4] == 100).all()  # the upper half of five rows, rounded up
    for place, colour in ((np.s_[:3, 4:], first), (np.s_[3:, :4], first), (np.s_[3:, 4:], second)):
        assert abs(tinted[place].astype(int) - colour).max() <= 1  # six colours, then again
