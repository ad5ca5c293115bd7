"""`name=value` on the command line."""

from __future__ import annotations

from collections.abc import Sequence


def name_values(texts: Sequence[str]) -> dict[str, str]:
    """The values by name. Raises ValueError for a text without `=`."""
    values = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"write name=value, not {text!r}")
        values[name] = value
    return values
