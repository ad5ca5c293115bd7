"""`reprolib submit` on the command line."""

from __future__ import annotations

import argparse
import importlib.util
import shutil
from collections import Counter

import yaml
from tabulate import tabulate

from reprolib.papers.addresses import ADDRESSES
from reprolib.params import load_profile

HELP = "run what the active profile lacks on Slurm, or on the GPUs of this machine, and restore the results"
SETTINGS = "of submitit's AutoExecutor: timeout_min=600, slurm_partition=gpu, mem_gb=32, slurm_gres=gpu:a100:1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("address", nargs="*", metavar="ADDRESS", help=f"only {ADDRESSES}; of those the profile lists")
    parser.add_argument("--cluster", choices=("slurm", "local"), help="by default slurm where there is sbatch")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="runs at a time; by default one per GPU")
    parser.add_argument("--gpus", type=int, default=1, metavar="N", help="of each run, one process on each; 0 on CPUs")
    parser.add_argument("--set", type=_setting, action="append", default=[], metavar="NAME=VALUE", help=SETTINGS)
    parser.add_argument("--status", action="store_true", help="only show the state of each run")
    parser.add_argument("--cancel", action="store_true", help="end what is queued or running")


def run(options: argparse.Namespace) -> int:
    if not importlib.util.find_spec("submitit"):
        raise RuntimeError("submitit is not installed: `pip install submitit`, or `pip install -e .[cluster]`")
    from reprolib.pipeline.submit import leader

    profile, done = load_profile(), True
    if options.cancel:
        print(f"{leader.cancel(profile)} jobs ended")
    elif not options.status:
        done = leader.submit(
            profile,
            cluster=options.cluster or ("slurm" if shutil.which("sbatch") else "local"),
            workers=options.workers,
            gpus=options.gpus,
            settings=dict(options.set),
            addresses=options.address,
        )
    rows = leader.status(profile, addresses=options.address)
    counts = Counter(row["state"] for row in rows)
    print(tabulate(rows, headers="keys", tablefmt="simple", disable_numparse=True))
    print(f"{len(rows)} runs: {', '.join(f'{number} {state}' for state, number in counts.items())}")
    return 0 if done else 1


def _setting(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"write NAME=VALUE, for example slurm_partition=gpu, not {text!r}")
    return name, yaml.safe_load(value)
