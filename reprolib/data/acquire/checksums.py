"""Published checksums, and where there are none, trust on first use."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from reprolib.data.acquire.magic import check_file
from reprolib.data.card import File
from reprolib.data.errors import DataError
from reprolib.files import write_json

LOCK = "checksums.json"


def digest_of(path: Path, algorithm: str) -> str:
    """Hexadecimal digest of a file's bytes; algorithm: as hashlib names it."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def sha256_of(path: Path) -> str:
    return digest_of(path, "sha256")


def mismatch(path: Path, *, sha256: str = "", md5: str = "", size: int = 0) -> str:
    """How a file differs from what is expected of it, in words; empty where it does not. What is not given is
    not compared; the size is compared first, since that costs nothing."""
    actual = path.stat().st_size
    if size and actual != size:
        return f"{actual} bytes, expected {size}"
    for algorithm, expected in (("sha256", sha256), ("md5", md5)):
        if expected:  # a single digest is enough
            digest = digest_of(path, algorithm)
            return "" if digest == expected else f"{algorithm} {digest}, expected {expected}"
    return ""


def check_published(path: Path, file: File) -> None:
    """Raise DataError where the first bytes, the size or the checksum are not the published ones; the file stays."""
    check_file(path, name=file.name)
    if wrong := mismatch(path, sha256=file.sha256, md5=file.md5, size=file.bytes):
        raise DataError(
            f"{path}: {wrong}; this is not the published {file.name}: move it away and fetch it again, or unpack what"
            " you have and give the folder (--from-dir)"
        )


def trust_first_use(path: Path, file: File, *, lock: Path) -> None:
    """Where no checksum is published, note a file's sha256 in the JSON file `lock` when it is seen first, and compare
    it from then on. Raises DataError with the mend where it changed; the file stays."""
    if file.sha256 or file.md5 or file.contents_checked:
        return
    noted, digest = _read(lock), sha256_of(path)
    if file.name not in noted:
        write_json(lock, noted | {file.name: {"sha256": digest, "bytes": path.stat().st_size}})
        print(
            f"{file.name}: no checksum is published, so this copy is unverified; its sha256 {digest} is noted in {lock}"
            " and compared from now on",
            flush=True,
        )
    elif noted[file.name]["sha256"] != digest:
        raise DataError(
            f"{path}: sha256 {digest}, but {noted[file.name]['sha256']} was seen first ({lock}); it is damaged or the"
            f" publisher changed it: fetch it again, and if it is the same then, remove {file.name!r} from {lock} to"
            " trust this one"
        )


def _read(lock: Path) -> dict[str, dict]:
    try:
        noted = json.loads(lock.read_text())
        if all(isinstance(entry["sha256"], str) for entry in noted.values()):
            return noted
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise DataError(
        f"{lock}: not the notes on checksums that this suite writes; restore it, or remove it to start anew"
    )
