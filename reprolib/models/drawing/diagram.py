"""A network as boxes and arrows on a grid, for `reprolib.figures.network` to draw. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Block:
    """One box.

    name: its first line, unique in the diagram. text: its second line, for example a shape. x, y: its centre, in
    columns from the left and rows from the top. span: its width in columns. kind: the title of the frame that it
    stands in.
    """

    name: str
    text: str
    x: float
    y: float
    kind: str
    span: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Flow:
    """An arrow from a block, or from the frame of a kind, to a block.

    label: written beside its middle. via: corners on the way, (column, row). dashed: boxes flow, not features.
    """

    source: str
    target: str
    label: str = ""
    via: tuple[tuple[float, float], ...] = ()
    dashed: bool = False


@dataclass(frozen=True, kw_only=True)
class Diagram:
    """Blocks of one kind share a colour and a titled frame. Raises ValueError for names that do not fit together."""

    blocks: tuple[Block, ...]
    flows: tuple[Flow, ...]

    def __post_init__(self) -> None:
        names = [block.name for block in self.blocks]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two blocks of the diagram are called {name!r}")
        for flow in self.flows:
            for end, known in ((flow.source, [*names, *self.kinds]), (flow.target, names)):
                if end not in known:
                    raise ValueError(f"an arrow names {end!r}; the diagram has {', '.join(known)}")

    @property
    def kinds(self) -> list[str]:
        """In the order of the first block of each."""
        return list(dict.fromkeys(block.kind for block in self.blocks))

    def of(self, kind: str) -> list[Block]:
        """The blocks of one kind."""
        return [block for block in self.blocks if block.kind == kind]
