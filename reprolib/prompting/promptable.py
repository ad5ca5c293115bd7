"""A trained detector that takes boxes as prompts, found by its weights or by its experiment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from reprolib.data.cards import CARDS
from reprolib.engine.devices import pick_device, use_cpu_threads
from reprolib.papers.addresses import resolve_address, run_by_id
from reprolib.params import ParamsError, Run, load_profile, resolve
from reprolib.pipeline.runs.build import build_model
from reprolib.pipeline.runs.paths import run_paths
from reprolib.pipeline.runs.weights import load_weights, read_about


@dataclass(frozen=True, kw_only=True)
class Promptable:
    """model: in evaluation mode, with `encode` and `segment`. categories: id and name by label - 1."""

    model: nn.Module
    run: Run
    categories: tuple[Mapping[str, object], ...]
    device: str

    @property
    def names(self) -> list[str]:
        """Of the classes, by label - 1."""
        return [str(category["name"]) for category in self.categories]


def load_promptable(
    weights: str | Path = "",
    *,
    experiment: str = "",
    profile: str | None = None,
    seed: int = 0,
    device: str | None = None,
) -> Promptable:
    """The detector of a weights file, or of an experiment that was trained under a profile.

    weights: what `reprolib train` leaves (`results/<profile>/weights/*.safetensors`), which says of which run it is;
    or an experiment's address, the same as `experiment` alone. experiment, profile, seed: of a file that does not say.
    Raises FileNotFoundError or ValueError, naming the file or the argument, and the mend.
    """
    path = Path(weights)
    if weights and not experiment and not path.exists() and path.suffix != ".safetensors":
        weights, experiment = "", str(weights)
    if not weights and not experiment:
        raise ValueError("name the model: --weights FILE, or --experiment ADDRESS (see `reprolib list`)")
    experiment = resolve_address(experiment).id if experiment else ""
    if weights:
        about = read_about(path)
        run = _run_of(path, about, experiment=experiment, profile=profile, seed=seed)
    else:
        run = resolve(load_profile(profile), resolve_address(experiment), seed)
        path = run_paths(run)["weights"]
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is missing: train it first (`reprolib train {experiment} --profile {run.profile}`)"
            )
        about = read_about(path)
    categories = about["categories"] if about else _published_categories(run, path)
    model = build_model(run, num_classes=len(categories), pretrained=False)
    if not hasattr(model, "segment"):
        raise ValueError(f"{run.experiment.id}: {run.experiment.system} takes no box prompts; two-stage systems do")
    load_weights(model, path)
    device = device or pick_device()
    use_cpu_threads(run.schedule.cpu_threads)
    return Promptable(model=model.to(device).eval(), run=run, categories=tuple(categories), device=device)


def _run_of(path: Path, about: Mapping | None, *, experiment: str, profile: str | None, seed: int) -> Run:
    """The run that a file says, or that the arguments say where it does not; they must not disagree."""
    if about is None:
        if not experiment:
            raise ValueError(
                f"{path} does not say which run it is of (an older or another writer's file);"
                " add --experiment ID and --profile NAME"
            )
        return resolve(load_profile(profile), resolve_address(experiment), seed)
    said = str(about["run"]).rpartition("-")[0]
    for name, argument, in_file in (("experiment", experiment, said), ("profile", profile, about["profile"])):
        if argument and argument != in_file:
            raise ValueError(
                f"{path} is of {name} {in_file!r}, not {argument!r}; leave --{name} out, or name other weights"
            )
    try:
        return run_by_id(load_profile(str(about["profile"])), str(about["run"]))
    except ParamsError as error:
        raise ParamsError(f"{path} is of run {about['run']} under profile {about['profile']}: {error}") from None


def _published_categories(run: Run, path: Path) -> list[dict[str, object]]:
    card = CARDS[run.dataset]
    names = card.classes or tuple(f"class {number}" for number in range(1, card.class_count + 1))
    if not names:
        raise ValueError(f"{path} does not name its classes, and neither does the data set {run.dataset}; train anew")
    return [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
