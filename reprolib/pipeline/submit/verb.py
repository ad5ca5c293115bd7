"""`reprolib submit` on the command line."""

from __future__ import annotations

import argparse
import importlib.util

import yaml

from reprolib.papers.addresses import ADDRESSES
from reprolib.params import load_profile

HELP = "run what the active profile lacks on Slurm, or on the GPUs of this machine, and restore the results"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "address", nargs="*", metavar="ADDRESS", help=f"only {ADDRESSES}, as far as the profile lists them"
    )
    parser.add_argument("--cluster", choices=("slurm", "local"), help="by default slurm where there is sbatch")
    parser.add_argument(
        "--workers", type=int, default=0, metavar="N", help="runs at a time; by default as the GPUs suffice"
    )
    parser.add_argument("--gpus", type=int, default=1, metavar="N", help="of each run, one process on each; 0 on CPUs")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of submitit's AutoExecutor: timeout_min=600, slurm_partition=gpu, mem_gb=32, slurm_gres=gpu:a100:1",
    )
    parser.add_argument("--remote", default="", help="DVC remote by which results travel where the cache is not shared")
    parser.add_argument("--retries", type=int, default=2, metavar="N", help="of a run whose worker was lost")
    parser.add_argument("--detach", action="store_true", help="submit and return; lost workers are then not replaced")
    parser.add_argument("--status", action="store_true", help="only show how it stands with each run")
    parser.add_argument("--cancel", action="store_true", help="end what is queued or running")


def run(options: argparse.Namespace) -> int:
    if not importlib.util.find_spec("submitit"):
        raise RuntimeError("submitit is not installed: `pip install submitit`, or `pip install -e .[cluster]`")
    from reprolib.pipeline.submit import leader, send
    from reprolib.pipeline.submit.table import table

    profile = load_profile()
    if options.cancel:
        print(f"{leader.cancel(profile)} jobs ended")
        return 0
    if options.status:
        print(table(leader.status(profile, addresses=options.address)))
        return 0
    done = leader.submit(
        profile,
        leader.Options(
            cluster=options.cluster or send.default_cluster(),
            workers=options.workers,
            gpus=options.gpus,
            settings=_settings(options.set),
            remote=options.remote,
            retries=options.retries,
        ),
        addresses=options.address,
        follow=not options.detach,
    )
    print(table(leader.status(profile, addresses=options.address)))
    if done:
        print("All runs are here; `dvc repro` renders the tables.")
    return 0 if done or options.detach else 1


def _settings(texts: list[str]) -> dict[str, object]:
    settings = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--set takes NAME=VALUE, for example slurm_partition=gpu, not {text!r}")
        settings[name] = yaml.safe_load(value)
    return settings
