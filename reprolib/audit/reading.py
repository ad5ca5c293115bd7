"""`papers/<key>/audit.md`: what reading the publications found, beside what an earlier script did.

Every item carries marks: [script] found by computing, [read] by reading, [outside] with a source beyond the texts. The
checks of this package find every [script] item; the others stay here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from reprolib.papers.reported import audit

_MARK = re.compile(r"\[(script|read|outside)[^\]]*\]")


@dataclass(frozen=True, kw_only=True)
class Item:
    """One item of a paper's audit.md; marks: those in it, none where it says what every row is."""

    paper: str
    number: int
    text: str
    marks: frozenset[str]

    @property
    def by_reading(self) -> bool:
        """Whether something in it is not found by computing."""
        return self.marks != {"script"}


def items(paper: str) -> list[Item]:
    """All items of a paper's audit.md, in order; none without such a file."""
    pieces = re.split(r"^(\d+)\. ", audit(paper), flags=re.MULTILINE)[1:]
    return [
        Item(
            paper=paper,
            number=int(number),
            text=" ".join(text.split()),
            marks=frozenset(word for match in re.finditer(r"\[[^\]]*\]", text) for word in _words(match[0])),
        )
        for number, text in zip(pieces[::2], pieces[1::2], strict=True)
    ]


def _words(mark: str) -> list[str]:
    return re.findall(r"script|read|outside", mark) if _MARK.fullmatch(mark) else []
