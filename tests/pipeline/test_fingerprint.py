"""A run depends on what changes its numbers and on nothing else."""

import textwrap
from pathlib import Path

import pytest

from reprolib.papers.catalog import all_experiments
from reprolib.pipeline import fingerprint
from reprolib.pipeline.fingerprint import code_hashes, digest
from reprolib.pipeline.run_dependencies import EVALUATE_ENTRIES, TRAIN_ENTRIES


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
    monkeypatch.setattr(fingerprint, "KEPT", tmp_path / "work" / "hashes.json")
    fingerprint._kept.cache_clear()
    fingerprint._found.cache_clear()
    try:
        before = code_hashes(["little.a"], package=package)
        fingerprint._kept.cache_clear()  # as in another process
        fingerprint._found.cache_clear()
        with monkeypatch.context() as patch:
            patch.setattr(fingerprint, "_parse", None)
            assert code_hashes(["little.a"], package=package) == before
        write(package / "c.py", "def value():\n    return 2\n")
        assert code_hashes(["little.a"], package=package) != before
        fingerprint.KEPT.write_text("[1")  # torn by somebody else
        fingerprint._kept.cache_clear()
        assert code_hashes(["little.a"], package=package) != before
    finally:
        fingerprint._kept.cache_clear()


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
