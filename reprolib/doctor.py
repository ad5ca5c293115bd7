"""What this machine has, what is missing for a profile, and how to mend it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from pathlib import Path

from reprolib.data import listing
from reprolib.data.cards import CARDS
from reprolib.params import Profile

PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "pandas",
    "matplotlib",
    "papermill",
    "pycocotools",
    "hotcoco",
    "dvc",
)


def examine(profile: Profile, *, root: Path = Path()) -> dict[str, object]:
    """Versions, devices, disk and data as plain JSON; `problems` lists what is wrong, each with its mend."""
    problems: list[str] = []
    versions: dict[str, str | None] = {"python": platform.python_version()}
    if not (3, 11) <= sys.version_info[:2] < (3, 13):
        problems.append(f"Python {versions['python']} is not supported; make .venv with Python 3.11 or 3.12")
    pins = _pins(root / "requirements.lock")
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
            problems.append(f"{name} is not installed; run `make .venv/installed`")
            continue
        pinned = pins.get(name, set())
        if pinned and versions[name].split("+")[0] not in pinned:
            problems.append(
                f"{name} is {versions[name]}, requirements.lock says {' or '.join(sorted(pinned))};"
                " numbers may differ; run `rm -rf .venv && make .venv/installed`"
            )
    devices = _devices(problems)
    data = {name: _data(profile, name, problems, root=root) for name in profile.data}
    free = shutil.disk_usage(root).free
    if free < 2 * 2**30:
        problems.append(f"only {free / 2**30:.1f} GiB of disk are free here; checkpoints need room")
    if shutil.which("git") is None:
        problems.append("git is not on PATH; DVC and the records' revision need it")
    return {
        "profile": profile.name,
        "versions": versions,
        "devices": devices,
        "cores": os.cpu_count(),
        "free_disk_gib": round(free / 2**30, 1),
        "data": data,
        "problems": problems,
    }


def text(findings: dict[str, object]) -> str:
    """`examine`'s findings to read."""
    lines = [f"profile {findings['profile']}, {findings['cores']} cores, {findings['free_disk_gib']} GiB of disk free"]
    lines += [f"  {name:12} {version or 'missing'}" for name, version in findings["versions"].items()]
    lines += ["devices", *(f"  {device}" for device in findings["devices"])]
    lines += ["data", *(f"  {name:12} {state}" for name, state in findings["data"].items())]
    problems = findings["problems"]
    lines += ["", f"{len(problems)} to mend:" if problems else "Nothing to mend."]
    return "\n".join([*lines, *(f"  - {problem}" for problem in problems)])


def _pins(lock: Path) -> dict[str, set[str]]:
    """Versions by name; a lock for several Pythons may hold more than one."""
    pins: dict[str, set[str]] = {}
    if lock.is_file():
        for line in lock.read_text().splitlines():
            name, equals, rest = line.partition("==")
            if equals and not line.startswith((" ", "#")):
                pins.setdefault(name, set()).add(rest.split()[0])
    return pins


def _devices(problems: list[str]) -> list[str]:
    try:
        import torch
        import torchvision  # noqa: F401  its operators fail to load beside another torch
    except (ImportError, RuntimeError, OSError) as error:
        problems.append(f"torch and torchvision do not load together ({error}); reinstall both from requirements.lock")
        return []
    from reprolib.evaluation.environment import cpu_name

    devices = [f"cpu: {cpu_name()}, {torch.get_num_threads()} threads"]
    for index in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(index).total_memory / 2**30
        devices.append(f"cuda:{index}: {torch.cuda.get_device_name(index)}, {memory:.0f} GiB")
    if len(devices) == 1 and shutil.which("nvidia-smi"):
        problems.append("nvidia-smi is here but torch sees no GPU: is the driver too old for this torch's CUDA?")
    return devices


def _data(profile: Profile, name: str, problems: list[str], *, root: Path) -> str:
    options = profile.datasets.get(name)
    if options is None:
        problems.append(f"params.yaml: profiles.{profile.name}.data lists {name!r}, `datasets` lacks it")
        return "unknown"
    state = listing.state(name, options, root=root / "data")
    if state not in (listing.PREPARED, listing.ON_DEMAND):
        command = f"`reprolib data {name} --profile {profile.name}`"
        if options.get("kind") == "coco_folder":
            mend = f"{state}; place it there or change profiles.{profile.name}.datasets.{name} in params.yaml"
        elif CARDS[name].fetchable:
            mend = f"{name} is {state}; {command} fetches it ({CARDS[name].size})"
        else:
            mend = f"{name} is {state}; {command}: {CARDS[name].how_to}"
        problems.append(mend)
        return state
    report = root / profile.results / "data" / f"{name}.json"
    return "prepared" if report.is_file() else "not described yet: the pipeline's data stage does it"
