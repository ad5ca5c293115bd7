"""Fetch one file over HTTP so that an interrupted fetch goes on where it stopped.

Why not a library: pooch and torchvision verify checksums and start over whenever a connection is lost, which a file of
19 GB does not survive; gdown goes on, but is for Google Drive (`reprolib.data.acquire.drive`).
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from reprolib.data.acquire.checksums import mismatch
from reprolib.data.acquire.magic import HEAD_BYTES, check_kind
from reprolib.data.acquire.progress import Progress, megabytes, require_space
from reprolib.data.errors import DataError
from reprolib.files import write_json

CHUNK = 1 << 20
TIMEOUT = 30.0  # seconds without a byte
SLOW_SECONDS, SLOW_BYTES = 60.0, 60_000  # fewer bytes in that time: another connection may be faster
ADVANCE = 1 << 20  # bytes after which the count of attempts starts again
USER_AGENT = "reprolib"


class _Incomplete(OSError):
    """The connection ended, or slowed down too far, before the announced number of bytes."""


class _Changed(OSError):
    """What is here already is no beginning of what the server has now."""


class _Refused(DataError):
    """This server does not give the file; trying again would not help."""


@dataclass(frozen=True, kw_only=True)
class _Begun:
    """What is known of a part: where it came from, which version of the file it belongs to, and the file's size."""

    url: str
    mark: str  # strong ETag or Last-Modified; empty where the server gives none
    total: int  # 0 where the server does not say


def download(
    url: str | Sequence[str],
    target: Path,
    *,
    sha256: str = "",
    md5: str = "",
    size: int = 0,
    attempts: int = 5,
    pause: float = 2.0,
) -> Path:
    """Fetch a file to `target` and return it; a `target` that is there already is checked and returned.

    url: an address, or several in order of trust; where one refuses or cannot be reached, the next is tried. The bytes
    are collected in `<target>.part`. A later attempt or call requests the rest only: from the same address if the file
    there is still the same (If-Range), from another if there is a checksum to compare at the end; else anew. Lost,
    stalled and slow connections and server errors are tried again, up to `attempts` times in a row without an
    `ADVANCE`, `pause` seconds apart and doubling. Redirects are followed, except from https to http.

    Raises DataError with what to do by hand. A file of another size or checksum never gets the name `target`; one that
    was there under that name is left alone.
    """
    urls, target = ([url] if isinstance(url, str) else list(url)), Path(target)
    for address in urls:
        if not address.startswith(("http://", "https://")):
            raise DataError(f"{address}: only http and https are fetched; for a file on this machine give its path")
    checks = {"sha256": sha256, "md5": md5, "size": size}
    if target.is_file():
        if wrong := mismatch(target, **checks):
            raise DataError(f"{target}: {wrong}; move it away and run again to fetch it from {urls[0]}")
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    refusals = []
    for address in urls:
        try:
            _fetch_patiently(address, part, checks=checks, attempts=attempts, pause=pause)
            break
        except _Refused as refusal:
            refusals.append(str(refusal))
            print(refusal, flush=True)
    else:
        raise DataError(f"{'; '.join(refusals)}; fetch it by other means and place it at {target}")
    part.replace(target)
    _notes(part).unlink(missing_ok=True)
    return target


def _fetch_patiently(url: str, part: Path, *, checks: dict, attempts: int, pause: float) -> None:
    """Complete and check `part`, or raise _Refused, or DataError where another address would not help."""
    failed, wait = 0, pause
    while True:
        before = _length(part)
        try:
            spliced = _fetch(url, part, checked=bool(checks["sha256"] or checks["md5"]), size=checks["size"])
            wrong = mismatch(part, **checks)
            if not wrong:
                return
            _forget(part)
            if not spliced:
                raise _Refused(f"{url}: what it sends is not the published file ({wrong})")
            reason = f"the part here and the rest do not fit together ({wrong})"
        except urllib.error.HTTPError as error:
            if error.code == 416:  # the part here is not the beginning of the server's file
                _forget(part)
            elif error.code < 500 and error.code not in (408, 429):
                raise _Refused(f"{url}: the server answers {error.code} {error.reason}") from None
            reason = f"{error.code} {error.reason}"
        except _Changed as error:
            _forget(part)
            reason = str(error)
        except TimeoutError:
            reason = f"no byte for {TIMEOUT:g} s"
        except (OSError, http.client.HTTPException) as error:
            reason = str(getattr(error, "reason", "") or error or type(error).__name__)
        if _length(part) - before >= ADVANCE:
            failed, wait = 0, pause
        failed += 1
        if failed >= attempts:
            raise _Refused(
                f"{url}: not fetched after {attempts} attempts ({reason}); with a network the same command goes on"
                " where it stopped"
            )
        print(f"{url}: {reason}; attempt {failed + 1} of {attempts} in {wait:g} s", flush=True)
        time.sleep(wait)
        wait *= 2


def _fetch(url: str, part: Path, *, checked: bool, size: int) -> bool:
    """One attempt: complete `part` or raise. Returns whether it may be spliced from two versions of the file."""
    begun, length = _begun(part), _length(part)
    if begun and begun.total and length == begun.total:
        return True  # complete: an earlier process ended before it checked and renamed it
    request = urllib.request.Request(url, headers={"User-Agent": USER_AGENT})
    safe = begun is not None and begun.url == url and bool(begun.mark)
    ranged = begun is not None and length > 0 and (safe or checked)
    if ranged:
        request.add_header("Range", f"bytes={length}-")
        if safe:
            request.add_header("If-Range", begun.mark)
    with _OPENER.open(request, timeout=TIMEOUT) as response:
        resumed = response.status == 206
        if resumed and not ranged:
            raise _Incomplete("the server sends a part of the file where the whole was requested")
        total = _total(response, begin=length)
        if size and total and total != size:
            raise _Refused(f"{url}: has {total} bytes, the published file {size}")
        require_space(part.parent, total - length, what=f"{url}: needs", mend="make room or give another root")
        if resumed:
            if begun.total and total != begun.total:
                raise _Changed(f"{total} bytes there, {begun.total} when the part here was begun")
            if not safe:
                write_json(_notes(part), asdict(replace(begun, mark="")))
            head = b""
        else:
            length, head = 0, _read_head(response)
            _check_head(head, part=part, url=url)
            mark = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
            _forget(part)  # before the notes are written, which must describe the version of the part
            write_json(_notes(part), asdict(_Begun(url=url, mark="" if mark.startswith("W/") else mark, total=total)))
        written = _receive(response, part, head=head, length=length, total=total)
    if total and written != total:
        raise _Incomplete(f"connection lost at {written} of {total} bytes")
    return resumed and not safe


def _receive(response: http.client.HTTPResponse, part: Path, *, head: bytes, length: int, total: int) -> int:
    """Append the body to `part`, as it comes; returns the part's length."""
    written, in_window = length, 0
    window, progress, name = time.monotonic(), Progress(), part.name.removesuffix(".part")
    with part.open("ab" if length else "wb", buffering=0) as file:  # what has arrived is kept
        chunk = head
        # read1 returns what has arrived; read would wait for a whole chunk, and a timeout would lose its beginning.
        while chunk or (chunk := response.read1(CHUNK)):
            file.write(chunk)
            written += len(chunk)
            in_window += len(chunk)
            chunk = b""
            now = time.monotonic()
            if now - window > SLOW_SECONDS:
                if in_window < SLOW_BYTES and written != total:
                    raise _Incomplete(
                        f"{in_window} bytes in {now - window:.0f} s, at {written} of {total or '?'} bytes"
                    )
                window, in_window = now, 0
            progress.say(f"{name}: {megabytes(written, total)}")
    return written


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows, with Range and If-Range; but a file requested over https is not taken over http."""

    def redirect_request(self, request, file, code, message, headers, url):
        if request.full_url.startswith("https:") and not url.startswith("https:"):
            raise _Refused(f"{request.full_url}: leads from https to {url}, which is not followed")
        return super().redirect_request(request, file, code, message, headers, url)


_OPENER = urllib.request.build_opener(_Redirects)


def _read_head(response: http.client.HTTPResponse) -> bytes:
    head, begun = b"", time.monotonic()
    while len(head) < HEAD_BYTES and (more := response.read1(CHUNK)):
        head += more
        if time.monotonic() - begun > SLOW_SECONDS:
            raise _Incomplete(f"{len(head)} bytes in {time.monotonic() - begun:.0f} s")
    return head


def _check_head(head: bytes, *, part: Path, url: str) -> None:
    try:
        check_kind(head[:HEAD_BYTES], name=part.name.removesuffix(".part"), where=url)
    except DataError as error:
        raise _Refused(str(error)) from None


def _total(response: http.client.HTTPResponse, *, begin: int) -> int:
    """The whole file's size, 0 where the server does not say. Raises _Changed for a range that was not requested."""
    if response.status == 206:
        span, _, total = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        if span.partition("-")[0] != str(begin):
            raise _Changed(
                f"the bytes from {begin} on were requested, the server sends {span or 'it does not say which'}"
            )
        return int(total) if total.isdigit() else 0
    return int(response.headers.get("Content-Length") or 0)


def _begun(part: Path) -> _Begun | None:
    try:
        return _Begun(**json.loads(_notes(part).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _length(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _notes(part: Path) -> Path:
    return part.with_name(part.name + ".version")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _notes(part).unlink(missing_ok=True)
