"""What is wrong with a data set, collected so that a fault that occurs a thousand times is a single line."""

from __future__ import annotations

from pathlib import Path

from reprolib.data.errors import DataError

EXAMPLES = 3


class Findings:
    """Messages (what is wrong and its mend) with the entries they concern, in the order of their
    discovery."""

    def __init__(self) -> None:
        self._errors: dict[str, list[str]] = {}
        self._warnings: dict[str, list[str]] = {}

    def error(self, entry: str, message: str) -> None:
        self._errors.setdefault(message, []).append(entry)

    def warning(self, entry: str, message: str) -> None:
        self._warnings.setdefault(message, []).append(entry)

    @property
    def errors(self) -> tuple[str, ...]:
        return tuple(_line(message, entries) for message, entries in self._errors.items())

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(_line(message, entries) for message, entries in self._warnings.items())

    def raise_errors(self, path: Path) -> None:
        """Raise DataError naming the file and every kind of error found so far; nothing happens without
        errors."""
        if self._errors:
            raise DataError(f"{path}: " + "; ".join(self.errors))


def _line(message: str, entries: list[str]) -> str:
    shown = ", ".join(entries[:EXAMPLES])
    more = f" and {len(entries) - EXAMPLES} more" if len(entries) > EXAMPLES else ""
    return f"{shown}{more}: {message}"
