"""The walks of `reprolib/README.md` lead to functions that exist, in at most eight stops each."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "reprolib"
PAGE = (PACKAGE / "README.md").read_text()
STOP = re.compile(r"^\| `([\w/]+\.py)` `(\w+)` \|", re.MULTILINE)
WALKS = {text.splitlines()[0]: STOP.findall(text) for text in PAGE.split("\n## ")[1:] if STOP.search(text)}


def test_there_are_three_walks_from_pixel_to_table_cell():
    assert len(WALKS) == 3


@pytest.mark.parametrize("stops", WALKS.values(), ids=WALKS)
def test_every_stop_exists(stops):
    assert 1 < len(stops) <= 8
    for file, name in stops:
        tree = ast.parse((PACKAGE / file).read_text())
        defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        assert name in defined, f"{file} defines no {name}"
