"""params.yaml as frozen dataclasses that refuse what they do not know.

params.yaml is the only configuration. A profile says how big things are and what runs; `resolve` joins it with an
experiment and a seed into a `Run`, which holds everything that training and evaluation need.
"""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from reprolib.experiment import Experiment

ALL = "all"
LISTS = ("experiments", "tables", "papers")  # where ALL may stand in place of the list


class ParamsError(ValueError):
    """params.yaml says something that cannot be; the message names the file, the field and the mend."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Widths and counts of the networks; the values here are the published ones, a thin profile overrides them."""

    backbones: Mapping[str, str] = field(default_factory=dict)  # published backbone -> timm model that stands in
    norm: str = "published"  # published (frozen, by dialect) | batch | group: the latter two for training from scratch
    pretrained: bool = True
    frozen_stages: int = 2  # 0 none, 1 stem, 2 stem and res2
    channels: int = 256  # FPN and head width; papers' other widths scale by channels / 256
    box_hidden: int = 1024
    anchor_sizes: tuple[int, ...] = (32, 64, 128, 256, 512)
    rpn_pre_nms: tuple[int, int] = (2000, 1000)  # per level, training and test
    rpn_post_nms: tuple[int, int] = (1000, 1000)
    rpn_batch: int = 256
    roi_batch: int = 512
    detections: int = 100
    score_threshold: float = 0.0  # 0 = the system's own: 0.05; HTC's and SCNet's is 0.001


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How a run trains. Milestones are in iterations, or in epochs where `epochs` is given instead of `iterations`."""

    optimizer: str = "sgd"  # sgd | adamw
    lr: float = 0.02
    backbone_factor: float = 1.0  # the backbone's learning rate, in parts of `lr`
    momentum: float = 0.9
    weight_decay: float = 1e-4
    norm_weight_decay: float = 0.0
    batch_size: int = 16  # images per optimiser step, all devices and accumulation steps together
    accumulate: int = 1  # batches of batch_size / accumulate images whose gradients make one step
    iterations: int = 0
    epochs: float = 0.0
    policy: str = "step"  # step | one_cycle
    milestones: tuple[float, ...] = ()
    gamma: float = 0.1
    warmup_iterations: int = 0
    warmup_factor: float = 0.001
    clip_norm: float = 0.0  # 0 = off
    precision: str = "float32"  # float32 | bfloat16 (autocast, CUDA only)
    channels_last: bool = False  # training: weights and maps in the layout of tensor cores; may pay with bfloat16
    compile: bool = False  # training: torch.compile of backbone, neck and dense heads; minutes at the start
    min_sizes: tuple[int, ...] = (800,)  # training: the short side is drawn from these
    max_size: int = 1333
    test_size: int = 800
    flip: bool = True
    repeat_factor: float = 0.0  # LVIS repeat-factor sampling threshold, 0 = off
    checkpoint_every: int = 1000
    log_every: int = 20
    workers: int = 2  # processes that read images, of each training process
    cpu_threads: int = 0  # threads on a CPU, 0 = all; a fixed number makes results the same on any number of cores


@dataclass(frozen=True, kw_only=True)
class Profile:
    """How big, on which data, and what runs. Field by field explained in params.yaml."""

    name: str
    note: str
    seeds: tuple[int, ...]
    datasets: Mapping[str, Mapping[str, object]]  # prepared data set -> arguments of its preparation
    stands_in: Mapping[str, str]  # published data set -> prepared data set
    scale: Scale
    scale_for: Mapping[str, Mapping[str, object]]  # published data set or schedule -> changed fields of `scale`
    schedules: Mapping[str, Schedule]  # by schedule name or published data set; "default" for the rest
    data: tuple[str, ...]  # prepared data sets of this profile's pipeline
    experiments: tuple[str, ...]  # addresses; `reprolib.papers.addresses` says which experiments they name
    tables: tuple[str, ...]  # ids, or ALL
    papers: tuple[str, ...]  # keys of papers whose notebooks are executed, or ALL
    area: str = "json"  # json | mask: whose area makes an object small, medium or large where the protocol asks
    protocol_for: Mapping[str, str] = field(default_factory=dict)  # prepared data set -> protocol, not its card's

    @property
    def results(self) -> Path:
        return Path("results") / self.name


@dataclass(frozen=True, kw_only=True)
class Run:
    """An experiment with one seed under one profile: all that changes its numbers, apart from code and data."""

    experiment: Experiment
    seed: int
    profile: str
    dataset: str  # the prepared data set that is read
    dataset_options: Mapping[str, object]
    scale: Scale
    schedule: Schedule
    area: str = "json"
    protocol: str = ""  # by which detections are scored; empty: the data set's card says it

    @property
    def id(self) -> str:
        """As DVC names the stage: `dvc repro train@<id>`."""
        return f"{self.experiment.id}-{self.seed}"

    @property
    def exact_data(self) -> bool:
        """Whether the run reads the data set that the publication used."""
        return self.dataset == self.experiment.dataset


def resolve(profile: Profile, experiment: Experiment, seed: int) -> Run:
    """Join a profile and an experiment; raises ParamsError when the profile lacks the data set or the schedule."""
    where = f"profile {profile.name!r} in params.yaml"
    dataset = profile.stands_in.get(experiment.dataset, experiment.dataset)
    if dataset not in profile.datasets:
        raise ParamsError(
            f"{where}: {experiment.id} needs data set {dataset!r}; add it under `datasets` or name a stand-in"
            f" under `stands_in: {{{experiment.dataset}: ...}}`"
        )
    for key in (experiment.schedule, experiment.dataset, "default"):
        if key in profile.schedules:
            break
    else:
        raise ParamsError(
            f"{where}: no schedule for {experiment.id}; add `schedules: {experiment.dataset}` or `default`"
        )
    if profile.area not in ("json", "mask"):
        raise ParamsError(f"{where}: area must be json or mask, not {profile.area!r}")
    known = {f.name for f in dataclasses.fields(Scale)}
    changes: dict[str, object] = {}
    for named in (experiment.dataset, experiment.schedule):
        if unknown := set(profile.scale_for.get(named, {})) - known:
            raise ParamsError(f"{where}: scale_for.{named} has unknown fields {sorted(unknown)}")
        changes |= profile.scale_for.get(named, {})
    return Run(
        experiment=experiment,
        seed=seed,
        profile=profile.name,
        dataset=dataset,
        dataset_options=profile.datasets[dataset],
        scale=dataclasses.replace(profile.scale, **changes),
        schedule=profile.schedules[key],
        area=profile.area,
        protocol=profile.protocol_for.get(dataset, ""),
    )


def load_profile(name: str | None = None, *, path: str | Path = "params.yaml") -> Profile:
    """Read one profile of params.yaml, by default the active one. Raises ParamsError or FileNotFoundError."""
    path = Path(path)
    document = _document(path)
    profiles = document["profiles"]
    if name is None:
        active = document["profile"]
        name = active.get("name") if isinstance(active, dict) else None
        if name not in profiles or profiles[name] != active:
            raise ParamsError(f"{path}: `profile` must be an alias of one profile, for example `profile: *demo`")
    if name not in profiles:
        raise ParamsError(f"{path}: no profile {name!r}; there are {', '.join(profiles)}")
    block = {key: [ALL] if value == ALL and key in LISTS else value for key, value in profiles[name].items()}
    return parse(Profile, block, where=f"{path}: profiles.{name}")


def load_profiles(path: str | Path = "params.yaml") -> dict[str, dict]:
    """All profiles of params.yaml by name, as plain YAML. Raises as `load_profile`."""
    return _document(Path(path))["profiles"]


def _document(path: Path) -> dict:
    try:
        text = path.read_text(encoding="utf-8")
        document = yaml.safe_load(text)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} not found; run reprolib from the repository's root") from None
    except yaml.YAMLError as error:
        raise ParamsError(f"{path} is not valid YAML: {error}") from None
    if bare := re.search(r"[\[,]\s*(\w+-\d+:\d+)\s*[,\]]", text):
        raise ParamsError(f'{path}: write "{bare[1]}" with its quotes within [ ], else DVC cannot read the file')
    if not isinstance(document, dict) or set(document) != {"profiles", "profile"}:
        raise ParamsError(f"{path}: the top level holds `profiles` and `profile`, nothing else")
    profiles = document["profiles"]
    for key, block in profiles.items():
        if not isinstance(block, dict) or block.get("name") != key:
            raise ParamsError(f"{path}: profiles.{key}.name must be {key!r}")
    return document


def parse(kind: type, value: object, *, where: str):
    """Turn plain YAML into `kind` (a dataclass, tuple, mapping or scalar); raises ParamsError naming the field."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise ParamsError(f"{where} must be a mapping, not {value!r}")
        hints = typing.get_type_hints(kind)
        names = {f.name for f in dataclasses.fields(kind)}
        unknown = sorted(set(value) - names)
        if unknown:
            raise ParamsError(f"{where}: unknown field {unknown[0]!r}; known are {', '.join(sorted(names))}")
        missing = [
            f.name
            for f in dataclasses.fields(kind)
            if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING and f.name not in value
        ]
        if missing:
            raise ParamsError(f"{where}: field {missing[0]!r} is missing")
        return kind(**{key: parse(hints[key], item, where=f"{where}.{key}") for key, item in value.items()})
    if origin is tuple:
        if not isinstance(value, list):
            raise ParamsError(f"{where} must be a list, not {value!r}")
        if arguments[-1] is not Ellipsis and len(arguments) != len(value):
            raise ParamsError(f"{where} must have {len(arguments)} entries, not {len(value)}")
        return tuple(parse(arguments[0], item, where=f"{where}[{i}]") for i, item in enumerate(value))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            raise ParamsError(f"{where} must be a mapping, not {value!r}")
        return types.MappingProxyType(
            {str(key): parse(arguments[1], item, where=f"{where}.{key}") for key, item in value.items()}
        )
    if kind is object:
        return tuple(value) if isinstance(value, list) else value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        hint = "; YAML reads 1e-4 as text, write 1.0e-4" if kind is float else ""
        raise ParamsError(f"{where} must be {kind.__name__}, not {value!r}{hint}")
    return value
