"""The README shows what was rendered, and every path in it exists."""

import re
from pathlib import Path

import pytest

from reprolib.site.content import gather
from reprolib.site.pages import gains_drawing
from reprolib.site.readme import BEGIN, END, FIGURE, NAME, replaced, section
from reprolib.tables.verdicts import VERDICTS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


@pytest.fixture(scope="module")
def content():
    return gather("demo", params=ROOT / "params.yaml")


def test_its_results_are_those_of_the_records(content):
    drawing = gains_drawing(content, name=NAME)
    expected = section(content, drawing, root=ROOT)
    shown = README.split(BEGIN)[1].split(END)[0].strip()
    assert shown == expected, "reprolib report --readme --profile demo writes it"
    assert (content.results / FIGURE).read_text() == drawing.text


def test_only_the_section_is_replaced():
    text = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert replaced(text, "new") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    assert replaced(replaced(text, "new"), "old") == text


@pytest.mark.parametrize("text", ["nothing", BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"])
def test_a_readme_without_its_markers_is_refused(text):
    with pytest.raises(ValueError, match=r"X\.md: needs the line"):
        replaced(text, "new", name="X.md")


def test_its_links_lead_somewhere():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_it_explains_every_verdict():
    assert [verdict for verdict in VERDICTS if f"`{verdict}`" not in README] == []
