"""An executed notebook as part of a page: no script, no font and no style from elsewhere."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

TEMPLATES = Path(__file__).parent / "templates"
_PROGRESS = re.compile(r"<script\b.*?</script>", re.DOTALL | re.IGNORECASE)


def notebook_html(path: str | Path) -> str:
    """The notebook's cells as HTML: code folded, pictures inside, headings one level lower than in the notebook.

    Scripts in outputs are left out: what a notebook shows in the report needs none. Raises ValueError for a file that
    is no notebook.
    """
    import nbformat

    try:
        notebook = nbformat.read(path, as_version=4)
    except (ValueError, KeyError, AttributeError) as error:
        raise ValueError(f"{path}: not a notebook that can be read ({error}); execute it again") from None
    body, _ = _exporter().from_notebook_node(notebook)
    body = _PROGRESS.sub("", body)
    for level in range(5, 0, -1):
        body = re.sub(rf"(</?h){level}\b", rf"\g<1>{level + 1}", body)
    return body


def highlighting() -> str:
    """The style sheet of highlighted code, for light and dark."""
    from pygments.formatters import HtmlFormatter

    light, dark = (HtmlFormatter(style=style).get_style_defs(".highlight") for style in ("default", "github-dark"))
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n"


@lru_cache(maxsize=1)
def _exporter():
    from nbconvert import HTMLExporter

    return HTMLExporter(
        template_name="notebook",
        extra_template_basedirs=[str(TEMPLATES)],
        exclude_anchor_links=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
