"""The text of params.yaml with the blocks of one more paper: all other lines, and all comments, stay as they are."""

from __future__ import annotations

from pathlib import Path

import yaml

from reprolib.params import ParamsError, load_profiles


def with_paper(params: str | Path, *, schedule: str, profile: str, key: str) -> str:
    """The file's text with `schedule` at the end of the schedules of profile `paper`, and `profile` after all profiles.

    Raises ParamsError where the file has no such place, or where its profiles have the key already.
    """
    path = Path(params)
    profiles = load_profiles(path)
    if key in profiles:
        raise ParamsError(f"{path}: there is a profile {key!r} already; choose another key, or remove the block")
    if "paper" not in profiles:
        raise ParamsError(f"{path}: there is no profile `paper`, which the published schedule is written to")
    if key in profiles["paper"]["schedules"]:
        raise ParamsError(f"{path}: profile paper has a schedule {key!r} already; choose another key")
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    start = _line(lines, "  paper:", 0, path)
    end = _end_of_block(lines, _line(lines, "    schedules:", start, path), indent=4)
    lines[end:end] = schedule.splitlines(keepends=True)
    last = _before_comments(lines, _line(lines, "profile:", 0, path))
    lines[last:last] = profile.splitlines(keepends=True)
    text = "".join(lines)
    try:
        yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ParamsError(
            f"{path}: the block of {key} does not fit in ({error}); it builds on the profile `demo`"
        ) from None
    return text


def _line(lines: list[str], begins: str, start: int, path: Path) -> int:
    """The number of the first line from `start` that begins so."""
    for number in range(start, len(lines)):
        if lines[number].startswith(begins):
            return number
    raise ParamsError(f"{path}: no line begins with {begins!r}, as the repository's own file has it")


def _end_of_block(lines: list[str], start: int, *, indent: int) -> int:
    """The number of the first line behind a block whose head is indented by so many spaces."""
    for number in range(start + 1, len(lines)):
        text = lines[number]
        if text.strip() and len(text) - len(text.lstrip()) <= indent:
            return number
    return len(lines)


def _before_comments(lines: list[str], number: int) -> int:
    """The number of the first of the comment lines directly above a line."""
    while number and lines[number - 1].startswith("#"):
        number -= 1
    return number
