"""A report built once, from the committed demo's records of a few runs and a small executed notebook."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from reprolib.site.build import build
from reprolib.site.content import Content, gather

ROOT = Path(__file__).parent.parent.parent
RUNS = ("coco-mask_rcnn_r50-0", "coco-iemask_rcnn_r50-cem-0", "coco-iemask_rcnn_r50-gim-0", "ssdd-htc_r101-0")
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="


def notebook() -> nbformat.NotebookNode:
    """An executed notebook with what a page must cope with: wide output, a picture, a table, a script."""
    wide = "<table><tr>" + "".join(f"<td>column {number}</td>" for number in range(60)) + "</tr></table>"
    script = "<script src='https://example.org/x.js'></script><p>shown</p>"
    shown = [
        new_output("stream", text="x" * 400 + "\n"),
        new_output("display_data", {"image/png": PIXEL}),
        new_output("display_data", {"text/html": wide}),
        new_output("display_data", {"text/html": script}),
    ]
    cells = [new_markdown_cell("# A method\n\n## A part"), new_code_cell("print('x' * 400)", outputs=shown)]
    return new_notebook(cells=cells)


@pytest.fixture(scope="session")
def content(tmp_path_factory) -> Content:
    """What is gathered from four records; the executed notebook of one paper is beside them."""
    root = tmp_path_factory.mktemp("repository")
    shutil.copy(ROOT / "params.yaml", root)
    results = root / "results" / "demo"
    (results / "records").mkdir(parents=True)
    shutil.copy(ROOT / "results" / "systems.json", results.parent)
    for run in RUNS:
        shutil.copy(ROOT / "results" / "demo" / "records" / f"{run}.json", results / "records")
    (results / "notebooks").mkdir()
    nbformat.write(notebook(), results / "notebooks" / "iemask_rcnn.ipynb")
    (results / "notebooks" / f"evaluate-{RUNS[0]}.ipynb").write_text("{}")
    return gather("demo", params=root / "params.yaml")


@pytest.fixture(scope="session")
def report(content: Content) -> Path:
    """The folder of the built report."""
    return build(content).parent
