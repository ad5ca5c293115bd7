"""A run depends on what changes its numbers and on nothing else."""

import ast
import importlib.metadata
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from reprolib.papers.addresses import resolve_address
from reprolib.papers.catalog import all_experiments
from reprolib.params import load_profile, resolve
from reprolib.pipeline import fingerprint, page_dependencies, run_dependencies
from reprolib.pipeline.fingerprint import LEFT_OUT, as_plain, code_hashes, digest, with_fingerprint
from reprolib.pipeline.run_dependencies import EVALUATE_ENTRIES, TRAIN_ENTRIES, evaluate_plan, recipe, train_plan

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def package(tmp_path):
    """A small package: a imports b inside a function and c as a name; d stands apart."""
    root = tmp_path / "little"
    write(root / "__init__.py", '"""Little."""')
    write(root / "a.py", "from little.c import value\ndef f():\n    import little.b\n    return little.b, value\n")
    write(root / "b.py", "import os\nx = 1\n")
    write(root / "c.py", 'def value():\n    """Says one."""\n    return 1\n')
    write(root / "d.py", "y = 2\n")
    return root


def write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(textwrap.dedent(text))


def test_imports_are_followed_wherever_they_stand(package):
    assert list(code_hashes(["little.a"], package=package)) == ["little.a", "little.b", "little.c"]


def test_comments_docstrings_and_layout_change_nothing(package):
    before = code_hashes(["little.a"], package=package)
    write(package / "c.py", '# why\ndef value():\n    """Says one, in other words."""\n\n    return (1)\n')
    assert code_hashes(["little.a"], package=package) == before


def test_code_changes_only_those_who_import_it(package):
    before = code_hashes(["little.a", "little.d"], package=package)
    write(package / "c.py", 'def value():\n    """Says one."""\n    return 2\n')
    after = code_hashes(["little.a", "little.d"], package=package)
    assert {name for name in before if before[name] != after[name]} == {"little.c"}
    assert code_hashes(["little.d"], package=package) == {"little.d": before["little.d"]}


def test_what_was_found_is_kept_by_content(package, tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprint, "CACHE", tmp_path / "work" / "hashes.json")
    fingerprint._cached_sources.cache_clear()
    fingerprint._hash_and_imports.cache_clear()
    try:
        before = code_hashes(["little.a"], package=package)
        fingerprint._cached_sources.cache_clear()  # as in another process
        fingerprint._hash_and_imports.cache_clear()
        with monkeypatch.context() as patch:
            patch.setattr(fingerprint, "_parse", None)
            assert code_hashes(["little.a"], package=package) == before
        write(package / "c.py", "def value():\n    return 2\n")
        assert code_hashes(["little.a"], package=package) != before
        fingerprint.CACHE.write_text("[1")  # torn by somebody else
        fingerprint._cached_sources.cache_clear()
        assert code_hashes(["little.a"], package=package) != before
    finally:
        fingerprint._cached_sources.cache_clear()


def test_a_missing_entry_and_a_relative_import_are_errors(package):
    with pytest.raises(ModuleNotFoundError, match=r"little\.e"):
        code_hashes(["little.e"], package=package)
    write(package / "d.py", "from . import a\n")
    with pytest.raises(ValueError, match=r"d\.py:1: relative imports"):
        code_hashes(["little.d"], package=package)


def test_digest_ignores_the_order_of_keys():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 1, "b": 3})


def test_training_depends_on_models_engine_and_data_but_not_on_reports_or_other_papers():
    for experiment in all_experiments().values():
        modules = set(code_hashes([*TRAIN_ENTRIES, experiment.module]))
        assert {"reprolib.engine.train", "reprolib.data.coco", "reprolib.models.contract"} <= modules
        assert len(modules & {"reprolib.models.one_stage.detector", "reprolib.models.two_stage.detector"}) == 1
        for name in modules:
            assert not name.startswith(("reprolib.tables", "reprolib.evaluation", "reprolib.data.scenes"))
            if name.startswith("reprolib.papers."):
                assert experiment.module.startswith(name.rpartition(".")[0]), f"{experiment.id} depends on {name}"


def test_evaluation_depends_on_the_metrics_and_not_on_the_training_loop():
    modules = set(code_hashes(EVALUATE_ENTRIES))
    rules = {f"reprolib.evaluation.{name}" for name in ("coco", "lvis", "cityscapes", "protocols")}
    assert rules | {"reprolib.engine.inference"} <= modules
    assert (
        "reprolib.data.sets.cityscapes.convert" not in modules
    )  # its result is in the fingerprint, as the data's hash
    assert not [name for name in modules if name.startswith("reprolib.tables")]
    assert "reprolib.engine.optimisers" not in modules


@pytest.mark.parametrize("value", ["0", "1", "0.0", "False", "True", "''", "None", "()", "-1"])
def test_every_constant_counts(package, value):
    """Zero, false and empty values are values too."""
    values = {}
    for text in ("2", value):
        write(package / "d.py", f"y = {text}\ndef f(a={text}): return [{text}]\n")
        values[text] = code_hashes(["little.d"], package=package)
    assert values["2"] != values[value]


def test_constants_that_look_alike_differ(package):
    hashes = set()
    texts = ["0", "0.0", "False", "''", "None", "()", "[]"]
    for text in texts:
        write(package / "d.py", f"y = {text}\n")
        hashes.add(code_hashes(["little.d"], package=package)["little.d"])
    assert len(hashes) == len(texts)


def test_what_is_left_out_changes_no_number_or_is_in_the_plan_by_value():
    assert set(LEFT_OUT) == {
        # by value: the recipe, the card's protocol and number of classes, and the hash of the prepared data
        *("reprolib.params", "reprolib.experiment"),
        *("reprolib.data.cards", "reprolib.data.catalog", "reprolib.data.scenes"),
        # told and kept, not computed with
        *("reprolib.data.report", "reprolib.data.lint", "reprolib.evaluation.environment", "reprolib.engine.progress"),
        *("reprolib.engine.loss_window", "reprolib.engine.run_meter", "reprolib.models.parts"),
        # a run that goes on equals one that was not interrupted, as a test of the engine holds
        "reprolib.engine.checkpoint",
    }
    for name in LEFT_OUT:
        assert fingerprint._path(name, fingerprint.PACKAGE), f"{name} does not exist"


# Reached through what is left out; `elsewhere` finds the papers' folders.
BEHIND_LEFT_OUT = ("reprolib.data.acquire", "reprolib.data.sets", "reprolib.data.card", "reprolib.papers.elsewhere")


def test_every_module_that_a_run_loads_is_in_its_hash():
    modules = sorted({experiment.module for experiment in all_experiments().values()})
    entries = [*TRAIN_ENTRIES, *EVALUATE_ENTRIES, *modules]
    code = (
        "import importlib, json, sys; [importlib.import_module(name) for name in sys.argv[1:]];"
        "files = {name: getattr(module, '__file__', '') or '' for name, module in sys.modules.items()};"
        "print(json.dumps([name for name, file in files.items() if not file.endswith('__init__.py')]))"
    )
    done = subprocess.run([sys.executable, "-c", code, *entries], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name for name in json.loads(done.stdout) if name.split(".")[0] == "reprolib"}
    known = (*LEFT_OUT, *BEHIND_LEFT_OUT)
    expected = {name for name in loaded if not any(name == stop or name.startswith(f"{stop}.") for stop in known)}
    assert set(modules) <= expected <= set(code_hashes(entries))


def test_a_package_holds_no_code_that_computes():
    """`from package import name` puts the module into the hash and not its package."""
    for path in fingerprint.PACKAGE.rglob("__init__.py"):
        if path.parent.name != "papers":  # looks for papers elsewhere
            code = [node for node in ast.parse(path.read_text()).body if not isinstance(node, ast.Expr)]
            assert not code or path.parent == fingerprint.PACKAGE, f"{path} holds code"


def entry_lists():
    for module in (run_dependencies, page_dependencies):
        for name, entries in vars(module).items():
            if name.endswith("_ENTRIES") and module.__name__.startswith("reprolib"):
                yield pytest.param(entries, id=name)


@pytest.mark.parametrize("entries", list(entry_lists()))
def test_every_entry_is_a_module(entries):
    assert set(entries) <= set(code_hashes(entries))


def test_runs_start_from_building_and_from_what_they_execute():
    build = "reprolib.pipeline.runs.build"
    assert set(TRAIN_ENTRIES) == {build, "reprolib.pipeline.runs.training"}
    assert set(EVALUATE_ENTRIES) == {build, "reprolib.pipeline.runs.evaluation"}


def test_a_run_depends_on_the_releases_of_the_libraries_that_compute(monkeypatch):
    run = resolve(load_profile("demo", path=ROOT / "params.yaml"), resolve_address("seanet-2:1"), 0)
    version = importlib.metadata.version
    plans = {"train": train_plan, "evaluate": evaluate_plan}
    before = {name: plan(run, data_fingerprint="x")["fingerprint"] for name, plan in plans.items()}

    def changed_by(library):
        monkeypatch.setattr(importlib.metadata, "version", lambda name: "0" if name == library else version(name))
        return {name for name, plan in plans.items() if plan(run, data_fingerprint="x")["fingerprint"] != before[name]}

    for library in ("torch", "torchvision", "timm", "numpy"):
        assert changed_by(library) == {"train", "evaluate"}
    for library in ("hotcoco", "pycocotools"):
        assert changed_by(library) == {"evaluate"}
    assert changed_by("matplotlib") == set()


def test_a_run_depends_on_its_recipe_and_data():
    run = resolve(load_profile("demo", path=ROOT / "params.yaml"), resolve_address("seanet-2:1"), 0)
    plan = train_plan(run, data_fingerprint="x")
    assert plan["recipe"] == recipe(run) and plan["data"] == "x"
    assert recipe(run) == json.loads(json.dumps(recipe(run))), "plain JSON"
    assert plan["recipe"]["scale"]["norm"] == "group" and plan["recipe"]["switches"]["dialect"] == "mm"
    assert train_plan(run, data_fingerprint="y")["fingerprint"] != plan["fingerprint"]


def test_the_name_of_a_run_is_no_part_of_its_fingerprint():
    named, other = with_fingerprint({"run": "a", "data": 1}), with_fingerprint({"run": "b", "data": 1})
    assert named["fingerprint"] == other["fingerprint"] != with_fingerprint({"run": "a", "data": 0})["fingerprint"]


def test_plain_values_keep_zeros_and_none():
    assert as_plain({"a": (0, None, False), "b": {"c": ()}}) == {"a": [0, None, False], "b": {"c": []}}
