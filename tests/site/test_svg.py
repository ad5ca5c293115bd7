"""Figures: well formed, the same each time, readable in light and dark."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from reprolib.figures.pictures import NothingToDraw
from reprolib.site import svg
from reprolib.site.drawings import Point, gains, speed_accuracy

CSS = (Path(svg.__file__).parent / "static" / "report.css").read_text()
POINTS = [
    Point(x=1.0, y=2.0, group="one", name="a", link="systems/a.html"),
    Point(x=-1.0, y=0.5, group="two", name="b"),
]


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    parts = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    linear = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def variables(text: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", text))


SCHEMES = [variables(part.split("}")[0]) for part in CSS.split(":root {")[1:3]]


def test_contrast_is_known():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_stands_out_from_its_ground(scheme):
    colours = SCHEMES[scheme]
    assert len(colours) > 10
    for name in set(colours) - {"ground", "raised", "line"}:
        for ground in ("ground", "raised"):
            assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_marks_stand_out_from_the_ground(scheme):
    ground = SCHEMES[scheme]["ground"]
    for variable, *values in svg.PALETTE.values():
        if variable != "grid":
            assert contrast(values[scheme], ground) >= (4.5 if variable in ("ink", "muted") else 3.0), variable


def test_a_figure_is_well_formed_and_the_same_each_time():
    drawing = gains(POINTS, name="one", note="A <note> & more")
    root = ElementTree.fromstring(drawing.text)
    assert root.get("role") == "img" and root.get("aria-label") == drawing.alt
    assert "A <note> & more" in drawing.alt
    assert gains(POINTS, name="one", note="A <note> & more") == drawing


def test_its_colours_are_variables_with_a_value_for_both_schemes():
    text = gains(POINTS, name="one", note="").text
    style = text[text.index("<style>") : text.index("</style>")]
    assert style.count("--ink:") == 2 and "prefers-color-scheme: dark" in style
    drawn = text[text.index("</style>") :]
    assert set(re.findall(r"var\(--(\w+)\)", drawn)) >= {"ink", "muted", "grid", "blue", "vermilion"}
    assert re.findall(r"#[0-9a-fA-F]{6}\b", drawn) == []
    assert "<text" in drawn and "Gain" not in drawn


def test_ids_of_two_figures_differ():
    texts = [gains(POINTS, name=name, note="").text for name in ("one", "two")]
    one, two = (set(re.findall(r' id="([^"]+)"', text)) for text in texts)
    assert one and not one & two


def test_marks_lead_to_their_system_and_have_its_class():
    text = speed_accuracy(
        {"reported": [Point(x=9.0, y=30.0, group="one", name="a", link="systems/a.html")]}, name="s"
    ).text
    assert 'class="mark a"' in text and "systems/a.html" in text


def test_nothing_to_draw():
    with pytest.raises(NothingToDraw):
        gains([], name="one", note="")
    with pytest.raises(NothingToDraw):
        speed_accuracy({"reported": []}, name="one")
