"""Execute a parameterised notebook with papermill; unknown parameters, which papermill accepts, are an error."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

NOT_OUTPUT = (
    "Executing ",
    "Ending Cell",
    "Input Notebook",
    "Output Notebook",
    "Working directory",
    "<Figure size",
    "<IPython.core.display",
)


class NotebookError(RuntimeError):
    """A notebook could not be run or failed; the message says which cell and why."""


def execute(notebook: str | Path, output: str | Path, parameters: Mapping[str, object]) -> Path:
    """Run `notebook` from the current folder with `parameters`; write the executed copy to `output`.

    The copy is written also when a cell fails, so that it can be opened. Raises NotebookError for parameters that
    the notebook does not have (papermill only warns) and for a failing cell.
    """
    papermill = _papermill()
    notebook, output = Path(notebook), Path(output)
    if not notebook.is_file():
        raise NotebookError(f"{notebook} not found; run from the repository's root")
    known = papermill.inspect_notebook(str(notebook))
    unknown = [name for name in parameters if name not in known]
    if unknown:
        raise NotebookError(f"{notebook} has no parameter {unknown[0]!r}; it has {', '.join(known) or 'none'}")
    output.parent.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("PYTHONWARNINGS", "ignore:IProgress not found")  # no widgets in executed notebooks
    logger = logging.getLogger("papermill")
    logger.setLevel(logging.INFO)
    logger.addFilter(_is_output)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
    try:
        papermill.execute_notebook(
            str(notebook),
            str(output),
            parameters=dict(parameters),
            kernel_name="python3",
            progress_bar=False,
            log_output=True,
            cwd=".",
            extra_arguments=["--IPKernelApp.log_level=40"],  # nbclient's: the kernel talks to this machine only
        )
    except papermill.PapermillExecutionError as error:
        raise NotebookError(
            f"{notebook}, cell {error.exec_count}: {error.ename}: {error.evalue} (see {output})"
        ) from None
    return output


def _papermill() -> ModuleType:
    """papermill, imported without an unused dependency that takes most of the import's time.

    It loads jsonschema, which makes a parser of internationalised addresses while it is imported, three quarters of the
    CPU time. jsonschema goes without where that package is missing, and the schemas of notebooks have no such field.
    """
    absent = "jsonschema" not in sys.modules and "rfc3987_syntax" not in sys.modules
    if absent:
        sys.modules["rfc3987_syntax"] = None  # as if it were not installed
    try:
        import papermill
    finally:
        if absent:
            del sys.modules["rfc3987_syntax"]
    return papermill


def _is_output(entry: logging.LogRecord) -> bool:
    """Whether a line was printed by a cell: no line of papermill's own, no blank line, no output for notebooks only."""
    entry.msg, entry.args = entry.getMessage().rstrip(), ()
    return bool(entry.msg.strip()) and not entry.msg.startswith(NOT_OUTPUT)
