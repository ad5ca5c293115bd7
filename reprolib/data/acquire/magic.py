"""What a file is by its first bytes: a name says what was requested, not what a server sent."""

from __future__ import annotations

from pathlib import Path

from reprolib.data.errors import DataError

HEAD_BYTES = 512
WEB_PAGE = "a web page"
_BEGINNINGS = (
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "a zip archive"),  # an archive without files
    (b"\x1f\x8b", "a gzip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
)
_BY_SUFFIX = {".zip": "a zip archive", ".gz": "a gzip archive", ".tgz": "a gzip archive", ".rar": "a RAR archive"}


def kind_of(head: bytes) -> str:
    """What the first `HEAD_BYTES` of a file say it is, as words for a message; empty where they say nothing."""
    for beginning, kind in _BEGINNINGS:
        if head.startswith(beginning):
            return kind
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return WEB_PAGE if text.startswith((b"<!doctype html", b"<html", b"<head", b"<script")) else ""


def check_kind(head: bytes, *, name: str, where: str) -> None:
    """Raise DataError where the first bytes of `name` cannot be those of a file with its suffix; `where` begins the
    message. Suffixes that are not listed here only must not be a web page."""
    expected, kind = _BY_SUFFIX.get(Path(name).suffix.lower(), ""), kind_of(head)
    if kind == WEB_PAGE:
        raise DataError(
            f"{where}: {WEB_PAGE} (a login, a quota or an error) in place of {name}; open the address in a browser,"
            " fetch the file there and give its path"
        )
    if expected and kind != expected:
        raise DataError(f"{where}: {name} must be {expected}, its first bytes are {kind or 'of nothing known here'}")


def kind_of_file(path: Path) -> str:
    with Path(path).open("rb") as file:
        return kind_of(file.read(HEAD_BYTES))


def check_file(path: Path, *, name: str = "") -> None:
    """`check_kind` of a file on disk; `name` where the file's own says nothing."""
    with Path(path).open("rb") as file:
        check_kind(file.read(HEAD_BYTES), name=name or Path(path).name, where=str(path))
