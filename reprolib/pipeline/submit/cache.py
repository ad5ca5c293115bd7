"""DVC's run cache between workers and the leader.

An entry of the run cache says which outputs a command made from which dependencies. Workers that share the leader's
cache folder have nothing to do here; with a remote, entries and their outputs travel both ways.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from dvc.config import Config
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.stage.cache import _get_stage_hash
from dvc_data.hashfile.hash_info import HashInfo

from reprolib.pipeline.dvc import stages_of


def cache_dir(root: Path) -> str:
    """The folder of a working tree's DVC cache, absolute."""
    return str(Path(Config(str(root / ".dvc"))["cache"].get("dir") or root / ".dvc" / "cache").resolve())


def write_config(clone: Path, *, leader: Path, cache: str, remote: str) -> None:
    """Give a clone the leader's local configuration, and the cache and remote that the order names.

    Paths below .dvc/config are relative to it, so all remotes are written with the paths that the leader sees.
    """
    known = Config(str(leader / ".dvc"))
    with Config(str(clone / ".dvc")).edit("local") as local:
        local.update(known.load_one("local"))
        local["remote"] = {
            name: {key: str(value) for key, value in one.items()} for name, one in known["remote"].items()
        }
        local["cache"] = dict(local["cache"]) | {"dir": cache or str(clone / ".dvc" / "cache")}
        if remote:
            local["core"] = dict(local["core"]) | {"remote": remote}


def restore(runs: Sequence[str], *, remote: str = "") -> set[str]:
    """Bring the runs that the run cache holds into this working tree, as `dvc repro` would; returns them.

    remote: look into this remote too and fetch what a found run needs.
    """
    logging.getLogger("dvc").setLevel(logging.WARNING)
    found = set()
    with _repo(remote) as repo:
        if remote:
            repo.stage_cache.pull(None)
        for run in runs:
            if all(_restore(repo, stage, pull=bool(remote)) for stage in stages_of(run)):
                found.add(run)
    return found


def fetch(*, remote: str) -> None:
    """Bring a remote's entries into this clone's run cache; `dvc repro --pull` gets the outputs that it needs."""
    with _repo(remote) as repo:
        repo.stage_cache.pull(None)


def push(*, remote: str) -> None:
    """Send this clone's run cache to a remote: the outputs that are in its cache, then the entries that name them.

    `dvc push --run-cache` leaves out records, which git keeps and the cache only copies.
    """
    with _repo(remote) as repo:
        folder = Path(repo.stage_cache.cache_dir)
        entries = [(path.parent.name, path.name) for path in folder.glob("*/*/*")]
        for objects in repo.stage_cache.get_used_objs(entries).values():
            repo.cloud.push({one for one in objects if repo.cache.local.exists(one.value)})
        repo.stage_cache.push(None)


def _repo(remote: str) -> Repo:
    return Repo(config={"core": {"remote": remote}} if remote else None, _wait_for_lock=True)


def _restore(repo: Repo, name: str, *, pull: bool) -> bool:
    """Whether a stage is up to date, after its outputs were taken from the run cache where they are there."""
    try:
        [stage] = repo.stage.collect(name)
        with repo.lock:
            if stage.changed_stage() or not stage.deps_cached():
                # What dvc.lock says is of other dependencies: look in the run cache, by those that are here now.
                stage.save_deps()
                for out in stage.outs:
                    out.hash_info = HashInfo()
            if pull:
                key = _get_stage_hash(stage)
                entries = [(key, path.name) for path in Path(repo.stage_cache.cache_dir, key[:2], key).glob("*")]
                for objects in repo.stage_cache.get_used_objs(entries).values():
                    repo.cloud.pull(objects)
            repo.stage_cache.restore(stage, dry=True)  # raises where it is not there: reproducing would execute it
        repo.reproduce(name, single_item=True)
    except DvcException:
        return False
    return True


if __name__ == "__main__":  # in a clone, which DVC's paths are relative to
    {"fetch": fetch, "push": push}[sys.argv[1]](remote=sys.argv[2])
