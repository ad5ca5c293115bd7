"""How far a long piece of work is, as printed lines; and whether the disk has room for it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TypeVar

from reprolib.data.errors import DataError

SECONDS = 5.0  # between two lines
Item = TypeVar("Item")


class Progress:
    """Prints a line unless the last one, or the beginning, is less than five seconds ago."""

    def __init__(self) -> None:
        self.printed = time.monotonic()

    def say(self, text: str) -> None:
        now = time.monotonic()
        if now - self.printed > SECONDS:
            print(text, flush=True)
            self.printed = now


def counted(items: Collection[Item], before: str, after: str) -> Iterator[Item]:
    """The items, with lines on how many of them are done, the last one at the end: `before 100 of 650 after`."""
    progress = Progress()
    for number, item in enumerate(items, start=1):
        yield item
        text = f"{before} {number} of {len(items)} {after}"
        print(text, flush=True) if number == len(items) else progress.say(text)


def megabytes(done: int, total: int | None) -> str:
    """`12 of 34 MB`, or `12 MB` where the whole is not known."""
    return f"{done / 1e6:.0f}{f' of {total / 1e6:.0f}' if total else ''} MB"


def require_space(folder: Path, needed: float, *, what: str, mend: str = "make room") -> None:
    """Raise DataError where the disk of `folder`, which is made, has fewer bytes free than needed: `what` begins the
    message, `mend` ends it."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(f"{what} {_size(needed)} in {folder}, which has {_size(free)} free; {mend}")


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
