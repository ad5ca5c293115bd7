"""Imports point one way: a file imports from its own room and from lower ones, never upward (DESIGN, "Rooms")."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "reprolib"
# Low to high; rooms of one line do not import each other. The longest matching prefix names a file's room.
LAYERS = (
    ("files",),
    ("experiment",),
    ("params",),
    ("data",),
    ("models",),
    ("models.drawing", "models.layers"),
    ("models.two_stage", "models.one_stage", "models.queries"),
    ("models.systems",),
    ("evaluation",),
    ("engine",),
    ("papers",),
    ("tables",),
    ("figures",),
    ("audit",),
    ("site",),
    ("pipeline",),
    ("cost", "prompting"),
    ("doctor",),
    ("cli",),
    ("__main__",),
)
HEIGHT = {room: height for height, rooms in enumerate(LAYERS) for room in rooms}
FILES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path) for path in FILES}


def room_of(module: str) -> str:
    """The room that a module below reprolib stands in, by the longest prefix."""
    parts = module.split(".")
    prefixes = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return next(prefix for prefix in prefixes if prefix in HEIGHT)


def imported_modules(source: str) -> set[str]:
    """Modules below reprolib that a source imports, also inside functions, without the package's own name."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    below = {name.removeprefix("reprolib.") for name in names if name.startswith("reprolib.")}
    return {name if name in MODULES else name.rpartition(".")[0] for name in below} - {""}


def upward_imports(module: str, imported: set[str]) -> list[str]:
    """Those of the imported modules that stand higher, or in another room of the same height."""
    room = room_of(module)
    return sorted(
        other
        for other in imported
        if HEIGHT[room_of(other)] > HEIGHT[room] or (HEIGHT[room_of(other)] == HEIGHT[room] and room_of(other) != room)
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: module_name(path) or "reprolib")
def test_a_file_imports_nothing_from_above(path):
    module = module_name(path)
    if module:
        assert upward_imports(module, imported_modules(path.read_text())) == []


def test_the_package_does_not_import_what_stands_beside_it():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [getattr(node, "module", None)]
            assert not {str(name).split(".")[0] for name in names} & {"benchmarks", "tests", "notebooks"}, path


def test_modules_import_each_other_in_no_circle():
    graph = {module_name(path): imported_modules(path.read_text()) for path in FILES if path.stem != "__init__"}
    TopologicalSorter(graph).prepare()  # raises CycleError with the modules of a circle


def test_an_import_from_above_is_seen():
    source = "from reprolib.site import index\nfrom reprolib.files import write_json"
    assert upward_imports("tables.render", imported_modules(source)) == ["site.index"]
    assert upward_imports("site.build", imported_modules(source)) == []
    assert upward_imports("prompting.verb", {"cost.verb"}) == ["cost.verb"]


def test_the_rooms_are_few():
    """The package's root and the top of its models are short enough to be looked over."""
    assert len(list(PACKAGE.glob("*.py"))) <= 8
    assert len(list((PACKAGE / "models").glob("*.py"))) < 20
