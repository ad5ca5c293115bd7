"""Several processes for one run: started by torchrun, heard line by line, ended with the one that started them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from reprolib.papers.addresses import resolve_address
from reprolib.params import load_profile, resolve
from reprolib.pipeline.runs import launch


@pytest.fixture
def run():
    return resolve(load_profile("demo"), resolve_address("coco-mask_rcnn_r50"), 3)


def instead(monkeypatch, script: str) -> list:
    """Let a script stand in for torchrun; returns what torchrun would have been given."""
    given = []

    def torchrun(processes, arguments):
        given.extend([processes, *arguments])
        return [sys.executable, "-c", script]

    monkeypatch.setattr(launch, "torchrun", torchrun)
    return given


def test_without_being_asked_nothing_is_started(monkeypatch):
    monkeypatch.delenv(launch.PROCESSES, raising=False)
    assert launch.process_count() == 1
    monkeypatch.setenv(launch.PROCESSES, "4")
    assert launch.process_count() == 4 and launch.prints_results()
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")  # in a process that torchrun started
    monkeypatch.setenv("RANK", "1")
    assert launch.process_count() == 1 and not launch.prints_results()
    monkeypatch.setenv("RANK", "0")
    assert launch.prints_results()
    monkeypatch.setenv(launch.STARTED, "1")
    assert not launch.prints_results()


@pytest.mark.parametrize("text", ["two", "0", "-1", "1.5"])
def test_a_number_that_cannot_be_is_refused(monkeypatch, text):
    monkeypatch.setenv(launch.PROCESSES, text)
    with pytest.raises(ValueError, match=f"REPROLIB_PROCESSES='{text}' must be a number"):
        launch.process_count()


def test_the_same_verb_runs_in_them_and_is_heard(monkeypatch, capsys, run):
    given = instead(monkeypatch, "import os, sys; print('out', os.environ['REPROLIB_STARTED']); sys.exit('err')")
    with pytest.raises(launch.LaunchError, match="train of coco-mask_rcnn_r50-3 on 2 processes failed"):
        launch.launch("train", run, processes=2, device="cpu")
    assert capsys.readouterr().out.split() == ["out", "1", "err"]
    assert given[:5] == [2, "-m", "reprolib", "train", "coco-mask_rcnn_r50"]


def test_an_interrupt_ends_them(monkeypatch, run):
    instead(monkeypatch, "import os, time; print(os.getpid(), flush=True); time.sleep(60)")
    heard = []

    def interrupted(line, **_):
        heard.append(int(line))
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.print", interrupted)
    with pytest.raises(KeyboardInterrupt):
        launch.launch("train", run, processes=2, device=None)
    with pytest.raises(ProcessLookupError):
        os.kill(heard[0], 0)


def test_torchrun_starts_as_many_as_asked(tmp_path):
    script = tmp_path / "who.py"  # a file each: what they print may be torn
    script.write_text("import os, sys; open(f\"{sys.argv[1]}/{os.environ['RANK']}-{os.environ['WORLD_SIZE']}\", 'w')")
    subprocess.run(launch.torchrun(2, [str(script), str(tmp_path)]), capture_output=True, check=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0-2", "1-2", "who.py"]
