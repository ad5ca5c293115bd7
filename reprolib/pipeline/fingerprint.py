"""Hashes of what a run or page depends on: code, files and plain values.

Code is followed through imports from a few entry modules and hashed without comments, docstrings and layout, so that
editing a report, a docstring or another paper costs no retraining. DVC depends on the files written by
`reprolib.pipeline.plan`, one per run, instead of on source folders.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import reprolib.papers
from reprolib.files import write_atomic

PACKAGE = Path(__file__).parent.parent
CACHE = Path("work") / "code_hashes.json"  # hash and imports of each source, by its content and that of this file

# Imports of these modules are not followed.
LEFT_OUT = (
    # In the fingerprint by value: the recipe; of a data set its protocol, its number of classes, and the hash of its
    # annotations and images.
    "reprolib.params",
    "reprolib.experiment",
    "reprolib.data.cards",
    "reprolib.data.catalog",
    "reprolib.data.scenes",
    # Describe, report, or keep what was computed, and change no number.
    "reprolib.data.report",
    "reprolib.data.lint",
    "reprolib.evaluation.environment",
    "reprolib.engine.checkpoint",
    "reprolib.engine.loss_window",
    "reprolib.engine.progress",
    "reprolib.engine.run_meter",
    "reprolib.models.parts",
)
LIBRARIES = ("torch", "torchvision", "timm", "numpy")


def code_hashes(entries: Iterable[str], *, package: Path = PACKAGE) -> dict[str, str]:
    """Hash of every module that the entry modules reach through imports, by dotted name.

    Raises ModuleNotFoundError for an entry that has no file.
    """
    sources = _cached_sources()
    known = len(sources)
    hashes: dict[str, str] = {}
    queue = list(entries)
    while queue:
        name = queue.pop()
        path = _path(name, package)
        if path is None:
            raise ModuleNotFoundError(f"no module {name!r} below {package}")
        if name in hashes:
            continue
        hashes[name], imported = _hash_and_imports(path, path.stat().st_mtime_ns)
        for target in imported:
            # `from package import name` names a module or something inside one.
            module = target if _path(target, package) else target.rpartition(".")[0]
            left_out = any(module == stop or module.startswith(f"{stop}.") for stop in LEFT_OUT)
            if module.split(".")[0] == package.name and not left_out:
                queue.append(module)
    if len(sources) > known:
        with contextlib.suppress(OSError):  # in a folder that is read only every process parses the sources again
            write_atomic(CACHE, json.dumps(sources))
    return dict(sorted(hashes.items()))


def libraries() -> dict[str, str]:
    """Installed versions of the libraries whose releases change numbers, without build tags such as +cpu."""
    return {name: importlib.metadata.version(name).split("+")[0] for name in LIBRARIES}


def digest(value: Mapping[str, object]) -> str:
    """A short hash of a JSON value, the same whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def with_fingerprint(plan: dict[str, object]) -> dict[str, object]:
    """A plan with its hash as `fingerprint`; the run's name is no part of it."""
    return plan | {"fingerprint": digest({key: value for key, value in plan.items() if key != "run"})}


def file_hash(path: Path) -> str:
    """A short hash of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def as_plain(value: object) -> object:
    """Dataclasses and mappings as dicts and tuples as lists, all the way down, as JSON takes them."""
    if dataclasses.is_dataclass(value):
        return {field.name: as_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: as_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain(item) for item in value]
    return value


def _path(name: str, package: Path) -> Path | None:
    parts = name.split(".")
    if parts[0] != package.name:
        return None
    bases = [package.joinpath(*parts[1:])]
    if package == PACKAGE and parts[1:2] == ["papers"]:  # papers may stand outside the package
        bases += [Path(folder).joinpath(*parts[2:]) for folder in reprolib.papers.__path__]
    candidates = (path for base in bases for path in (base / "__init__.py", base.with_suffix(".py")))
    return next((path for path in candidates if path.is_file()), None)


@cache
def _cached_sources() -> dict[str, list]:
    try:
        return dict(json.loads(CACHE.read_bytes()))
    except (OSError, ValueError, TypeError):
        return {}


@cache
def _hash_and_imports(path: Path, modified: int) -> tuple[str, list[str]]:
    """Of the source at `path`; modified: time of its last change in ns, so that an edited file is read again."""
    source = path.read_bytes()
    key = hashlib.sha256(_own_source() + source).hexdigest()
    sources = _cached_sources()
    if key not in sources:
        sources[key] = _parse(source, path)
    code, imported = sources[key]
    return code, imported


@cache
def _own_source() -> bytes:
    return Path(__file__).read_bytes()


def _parse(source: bytes, path: Path) -> tuple[str, list[str]]:
    tree = ast.parse(source, filename=str(path))
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"{path}:{node.lineno}: relative imports are not followed; write the full name")
            imported.update(f"{node.module}.{alias.name}" for alias in node.names)
    text = json.dumps(_syntax(tree))
    return hashlib.sha256(text.encode()).hexdigest()[:16], sorted(imported)


def _syntax(node: object) -> object:
    """A syntax tree as lists, without docstrings, positions and empty fields (which differ between Pythons)."""
    if isinstance(node, ast.AST):
        fields = dict(ast.iter_fields(node))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            fields["body"] = [item for item in node.body if not _is_docstring(item)]
        values = {key: _syntax(value) for key, value in fields.items() if value not in (None, [])}
        return [type(node).__name__, values]
    if isinstance(node, list):
        return [_syntax(item) for item in node]
    return repr(node)


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
