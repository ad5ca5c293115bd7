"""Fetch one file over HTTP so that an interrupted fetch goes on where it stopped."""

from __future__ import annotations

import hashlib
import http.client
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path

from reprolib.data.errors import DataError
from reprolib.files import write_atomic

CHUNK = 1 << 20
TIMEOUT = 30.0  # seconds without a byte
PROGRESS_SECONDS = 5.0
USER_AGENT = "reprolib"


class _Incomplete(OSError):
    """The connection ended before the announced number of bytes."""


def download(url: str, target: Path, *, sha256: str = "", size: int = 0, attempts: int = 5, pause: float = 2.0) -> Path:
    """Fetch `url` to `target` and return it; a `target` that is there already is returned (checked, if
    sha256).

    The bytes gather in `<target>.part`; a later call asks the server for the rest, if the file there is still
    the same (If-Range), and starts over where it cannot tell. Lost connections and server errors are retried
    `attempts` times, `pause` seconds apart and doubling. sha256 and size are checked where given. Raises
    DataError with what to do by hand; a file with a wrong checksum is removed first.
    """
    target = Path(target)
    if not url.startswith(("http://", "https://")):
        raise DataError(f"{url}: only http and https are fetched; for a file on this machine give its path")
    if target.is_file():
        _check(target, url=url, sha256=sha256, size=size)
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    by_hand = f"fetch it by other means and place it at {target}"
    for attempt in range(1, attempts + 1):
        try:
            _fetch(url, part)
            break
        except urllib.error.HTTPError as error:
            if error.code == 416:  # the part is no beginning of what the server has now
                part.unlink(missing_ok=True)
            elif error.code < 500 and error.code not in (408, 429):
                raise DataError(f"{url}: the server answers {error.code} {error.reason}; {by_hand}") from None
            reason = f"{error.code} {error.reason}"
        except (OSError, http.client.HTTPException) as error:
            reason = str(getattr(error, "reason", "") or error or type(error).__name__)
        if attempt == attempts:
            raise DataError(
                f"{url}: not fetched after {attempts} attempts ({reason}); with a network the same command goes on"
                f" where it stopped, without one {by_hand}"
            )
        print(f"{url}: {reason}; attempt {attempt + 1} of {attempts} in {pause:g} s", flush=True)
        time.sleep(pause)
        pause *= 2
    _check(part, url=url, sha256=sha256, size=size)
    part.replace(target)
    _stamp(part).unlink(missing_ok=True)
    return target


def sha256_of(path: Path) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(url: str, part: Path) -> None:
    """One attempt: complete `part` or raise."""
    stamp = _stamp(part)
    begun = part.stat().st_size if part.is_file() and stamp.is_file() else 0
    request = urllib.request.Request(url, headers={"User-Agent": USER_AGENT})
    if begun:
        request.add_header("Range", f"bytes={begun}-")
        request.add_header("If-Range", stamp.read_text())
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        if response.status != 206:
            begun = 0
        total = begun + int(response.headers.get("Content-Length") or 0)
        _check_space(part, needed=total - begun, url=url)
        _remember(stamp, response)
        with part.open("ab" if begun else "wb") as file:
            written, last = begun, time.monotonic()
            while chunk := response.read(CHUNK):
                file.write(chunk)
                written += len(chunk)
                if time.monotonic() - last > PROGRESS_SECONDS:
                    last = time.monotonic()
                    print(f"{part.name}: {written / 1e6:.0f} of {total / 1e6:.0f} MB", flush=True)
    if total > begun and written != total:
        raise _Incomplete(f"connection lost at {written} of {total} bytes")


def _remember(stamp: Path, response: http.client.HTTPResponse) -> None:
    """Note which version of the file the part belongs to; without a strong mark it cannot be gone on with."""
    mark = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
    if mark and not mark.startswith("W/"):
        write_atomic(stamp, mark)
    else:
        stamp.unlink(missing_ok=True)


def _stamp(part: Path) -> Path:
    return part.with_name(part.name + ".version")


def _check_space(part: Path, *, needed: int, url: str) -> None:
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        raise DataError(
            f"{url}: needs {needed / 1e6:.0f} MB in {part.parent}, which has {free / 1e6:.0f} MB free;"
            " make room or give another root"
        )


def _check(path: Path, *, url: str, sha256: str, size: int) -> None:
    found = path.stat().st_size
    if size and found != size:
        path.unlink()
        raise DataError(f"{path}: {found} bytes, {url} has {size}; removed, run again to fetch it anew")
    if sha256 and (digest := sha256_of(path)) != sha256:
        path.unlink()
        raise DataError(f"{path}: sha256 {digest}, expected {sha256}; removed, run again to fetch it anew")
