"""Tables as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

RULES = {"l": "---", "c": ":-:", "r": "---:"}


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, align: str) -> str:
    """A heading, a rule and a line per row; align: l, c or r for each column. Text is written as it is."""
    lines = (columns, [RULES[letter] for letter in align], *rows)
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
