"""Fetch one file from Google Drive, where a data set is nowhere else. gdown knows its confirmation pages."""

from __future__ import annotations

from pathlib import Path

from reprolib.data.acquire.checksums import mismatch
from reprolib.data.acquire.magic import check_file
from reprolib.data.acquire.progress import Progress, megabytes, require_space
from reprolib.data.errors import DataError

TIMEOUT = 60.0  # seconds without a byte
RETRIES = 5


def page(identifier: str) -> str:
    """The address that a browser shows the file at."""
    return f"https://drive.google.com/file/d/{identifier}/view"


def download_from_drive(identifier: str, target: Path, *, sha256: str = "", md5: str = "", size: int = 0) -> Path:
    """Fetch the file of a Drive id to `target` and return it.

    The bytes gather beside it, and a later call goes on with them. Raises DataError that says which file to fetch by
    hand, from where, and where to put it; a file of another kind, size or checksum never gets the name `target`.
    """
    by_hand = f"open {page(identifier)} in a browser, download {target.name} there, place it at {target} and run again"
    try:
        import gdown
        from gdown.exceptions import DownloadError
    except ImportError:
        raise DataError(f"{target.name}: fetching from Google Drive takes the package gdown; {by_hand}") from None
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.drive")
    print(f"{target.name}: fetching from Google Drive ({page(identifier)})", flush=True)
    progress = Progress()

    def report(written: int, total: int | None) -> None:
        require_space(target.parent, (total or written) - written, what=f"{target.name}: needs another")
        progress.say(f"{target.name}: {megabytes(written, total)}")

    try:
        gdown.download(
            id=identifier,
            output=str(part),
            resume=True,
            quiet=True,
            use_cookies=False,  # never the user's own login
            timeout=TIMEOUT,
            retries=RETRIES,
            progress=report,
        )
        check_file(part, name=target.name)
    except (DownloadError, OSError) as error:  # requests' errors are OSErrors
        said = " ".join(str(error).split())
        raise DataError(f"{target.name}: Google Drive does not give it ({said}); {by_hand}") from error
    except DataError as error:
        part.unlink(missing_ok=True)
        raise DataError(f"{error}; {by_hand}") from None
    if wrong := mismatch(part, sha256=sha256, md5=md5, size=size):
        part.unlink()
        raise DataError(f"{target.name}: what Google Drive gives is not the published file ({wrong}); {by_hand}")
    part.replace(target)
    return target
