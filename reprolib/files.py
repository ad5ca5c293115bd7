"""Atomic writes, by which a reader sees the old file or the new one and never half of one; sizes of files as text."""

from __future__ import annotations

import json
import os
from pathlib import Path


def write_atomic(path: str | Path, content: str | bytes) -> None:
    """Write `content` to `path` through a sibling `.part` file of this process; makes the folder if needed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_json(path: str | Path, value: object) -> None:
    """Write readable JSON with sorted keys; NaN and infinities are refused, since other readers cannot read them."""
    write_atomic(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def size_text(count: int) -> str:
    """Bytes in the unit that one reads easily, powers of 1000 as disks are sold."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if value >= 100 or unit == "B" else f"{value:.1f} {unit}"
