"""Checkpoints that survive a kill at any moment.

A checkpoint is written under another name and renamed when it is whole. The two newest are kept, so that damage to the
newest costs some iterations and not the run. Files hold tensors and plain containers only and are read with
weights_only=True.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import torch

KEEP = 2


class CheckpointError(RuntimeError):
    """The work folder cannot be used; the message names it and the mend."""


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Lock a work folder for this process; raises CheckpointError when another process has locked it.

    The system releases the lock when the process dies, however it dies, and data loader workers do not inherit it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CheckpointError(
                f"{folder}: another process is training this run; wait for it or stop it, then start again"
            ) from None
        yield


def checkpoint_paths(folder: Path) -> list[Path]:
    """The folder's checkpoints, oldest first."""
    return sorted(folder.glob("checkpoint-*.pt"))


def save_checkpoint(folder: Path, state: dict, *, iteration: int, keep: int = KEEP) -> Path:
    """Write `state` as the checkpoint of `iteration`, then delete all but the newest `keep`."""
    path = folder / f"checkpoint-{iteration:09d}.pt"
    for stale in folder.glob("checkpoint-*.part"):  # left by a process that was killed while writing
        stale.unlink()
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    torch.save(state, part)
    part.replace(path)
    for old in checkpoint_paths(folder)[:-keep]:
        old.unlink()
    return path


def load_checkpoint(folder: Path) -> dict | None:
    """The newest readable checkpoint, tensors on the CPU, or None; prints which checkpoints are damaged.

    Damaged files are deleted: they would count among the newest two.
    """
    for path in reversed(checkpoint_paths(folder)):
        trouble = _damage(path)
        if not trouble:
            try:
                return torch.load(path, map_location="cpu", weights_only=True)
            except Exception as error:  # torch.load lets pickle, zip, EOF and runtime errors out
                trouble = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        print(f"note: {path} is damaged ({trouble}); falling back to the checkpoint before it", flush=True)
        path.unlink()
    return None


def _damage(path: Path) -> str:
    """What is wrong with the file, or "". torch.load compares no checksums and would not notice a flipped bit."""
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except Exception as error:  # a damaged header also raises NotImplementedError or struct.error
        return f"{type(error).__name__}: {error}"
    return f"wrong checksum of {broken}" if broken else ""
