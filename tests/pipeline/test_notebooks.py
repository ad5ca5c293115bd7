"""Notebooks as they are kept in git: thin, parameterised, without outputs; and the code's style."""

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from reprolib.papers.catalog import papers
from reprolib.pipeline.notebook import NotebookError, execute

ROOT = Path(__file__).parent.parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_every_stage_and_paper_has_its_notebook():
    assert {path.stem for path in NOTEBOOKS} == {"data", "train", "evaluate", "audit", "systems", "prompt", *papers()}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_kept_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert "papermill" not in notebook.metadata
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None, "strip the outputs before committing"
    assert len(notebook.cells) <= 18
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in notebook.cells) == 1


def test_code_is_clean():
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *command, "."], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@pytest.fixture
def notebook(tmp_path):
    made = nbformat.v4.new_notebook()
    made.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    parameters = nbformat.v4.new_code_cell("count = 1", metadata={"tags": ["parameters"]})
    made.cells = [parameters, nbformat.v4.new_code_cell("print(6 / int(count))")]
    path = tmp_path / "six.ipynb"
    nbformat.write(made, path)
    return path


def test_execution_passes_parameters_and_keeps_the_source(notebook, tmp_path):
    before = notebook.read_bytes()
    output = execute(notebook, tmp_path / "deep" / "out.ipynb", {"count": 3})
    assert "2.0" in json.dumps(json.loads(output.read_text())["cells"][-1]["outputs"])
    assert notebook.read_bytes() == before


def test_papermill_is_imported_without_the_parser_of_addresses():
    code = (
        "import sys; from reprolib.pipeline.notebook import _papermill; assert _papermill().__name__ == 'papermill';"
        "assert 'jsonschema' in sys.modules and 'lark' not in sys.modules and 'rfc3987_syntax' not in sys.modules;"
        "import rfc3987_syntax"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_mistyped_parameter_is_refused_before_anything_runs(notebook, tmp_path):
    with pytest.raises(NotebookError, match="no parameter 'cuont'; it has count"):
        execute(notebook, tmp_path / "out.ipynb", {"cuont": 3})
    assert not (tmp_path / "out.ipynb").exists()


def test_a_failing_cell_is_named_and_its_copy_kept(notebook, tmp_path):
    with pytest.raises(NotebookError, match="ZeroDivisionError"):
        execute(notebook, tmp_path / "out.ipynb", {"count": 0})
    assert "ZeroDivisionError" in (tmp_path / "out.ipynb").read_text()
