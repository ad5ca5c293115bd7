"""A diagram while it is drawn, block after block."""

from __future__ import annotations

from reprolib.models.drawing.diagram import Block, Diagram, Flow
from reprolib.models.drawing.shapes import Shape, shape_text


class Sketch:
    """Blocks, and the arrows between them. Names and places are those of `Block` and `Flow`."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.flows: list[Flow] = []

    def block(
        self,
        name: str,
        shapes: list[Shape] | str,
        x: float,
        y: float,
        *,
        kind: str = "",
        span: float = 1.0,
        after: tuple[str, ...] = (),
    ) -> str:
        """Returns the name. shapes: what the second line says, or is. after: the blocks whose arrows reach this one."""
        text = shapes if isinstance(shapes, str) else shape_text(shapes)
        self.blocks.append(Block(name=name, text=text, x=x, y=y, kind=kind, span=span))
        for source in after:
            self.flow(source, name)
        return name

    def flow(self, source: str, target: str, **how: object) -> None:
        """An arrow of features."""
        self.flows.append(Flow(source=source, target=target, **how))

    def boxes(self, source: str, target: str, **how: object) -> None:
        """An arrow of boxes."""
        self.flow(source, target, dashed=True, **how)

    def diagram(self) -> Diagram:
        """Raises ValueError for names that do not fit together."""
        return Diagram(blocks=tuple(self.blocks), flows=tuple(self.flows))
