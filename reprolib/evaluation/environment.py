"""Where a number was made: software versions, machine, and the code's git revision."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path


def environment() -> dict[str, object]:
    """Versions and hardware: python, torch, torchvision, timm, numpy, platform, cpu, gpu, threads.

    gpu is None without CUDA; threads are those that torch uses inside operators.
    """
    import torch  # here, so that reading records does not load torch

    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in ("torch", "torchvision", "timm", "numpy")},
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
    }


def git_state(root: Path | str = ".") -> dict[str, object]:
    """The checked-out revision of the repository around `root`, and whether its files differ from it.

    Returns {"revision": str, "dirty": bool}; None for both outside git, without it, or before a first commit.
    What a pipeline itself writes (results/, dvc.lock) does not make it dirty. Never raises.
    """
    revision = _git(root, "rev-parse", "HEAD")
    written = (":(exclude,top)results", ":(exclude,top)dvc.lock")
    changes = _git(root, "status", "--porcelain", "--", ":/", *written)
    if revision is None or changes is None:
        return {"revision": None, "dirty": None}
    return {"revision": revision, "dirty": bool(changes)}


def cpu_name() -> str:
    """The processor's product name, or its architecture where the system does not tell."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or "unknown"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _git(root: Path | str, *arguments: str) -> str | None:
    """Standard output of a git command, or None when it fails for whatever reason."""
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
            # without this `git status` may lock the index while the user commits
            env=os.environ | {"GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
