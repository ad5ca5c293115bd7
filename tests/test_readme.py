"""The README shows what was rendered, and every path in it exists."""

import re
from pathlib import Path

from reprolib.report.verdict import VERDICTS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_its_table_is_the_rendered_one():
    rendered = (ROOT / "results/demo/tables/iemask_rcnn-3.md").read_text().splitlines()
    shown = [line for line in README.splitlines() if re.match(r"\| \d+(<sup>.*</sup>)? \| (IE)?Mask R-CNN", line)]
    assert len(shown) == 14
    assert set(shown) <= set(rendered), "render the demo again and copy its table into the README"


def test_its_links_lead_somewhere():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_it_explains_every_verdict():
    assert [verdict for verdict in VERDICTS if f"`{verdict}`" not in README] == []
