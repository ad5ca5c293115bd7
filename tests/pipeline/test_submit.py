"""What submitting is made of: schedulers' answers, slots, locks, settings."""

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from reprolib.files import write_json
from reprolib.params import Profile, parse
from reprolib.pipeline.runs import launch
from reprolib.pipeline.submit import jobs, leader, verb
from reprolib.pipeline.submit.worker import Order, SubmitError, locked

ROOT = Path(__file__).parent.parent.parent
PROFILE = {
    "name": "toy",
    "note": "",
    "seeds": [0],
    "datasets": {"street": {}},
    "stands_in": {"coco": "street"},
    "scale": {},
    "scale_for": {},
    "schedules": {"default": {"iterations": 6, "cpu_threads": 1, "workers": 0}},
    "data": ["street"],
    "experiments": ["coco-mask_rcnn_r50"],
    "tables": [],
    "papers": [],
}


@pytest.fixture
def slurm(monkeypatch, tmp_path):
    """Let one of Slurm's commands print what a test says; what it is called with goes to calls."""
    commands = tmp_path / "commands"
    commands.mkdir()

    def say(command: str, text: str, status: int = 0) -> None:
        script = commands / command
        script.write_text(
            f"#!/bin/sh\necho {command} \"$@\" >> {tmp_path}/calls\ncat <<'END'\n{text}\nEND\nexit {status}\n"
        )
        script.chmod(0o755)

    say("srun", "")
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return say


def submitted(path: Path, identity: str, *, cluster: str = "slurm", host: str = "login") -> Path:
    write_json(path / "job.json", {"cluster": cluster, "id": identity, "host": host, "time": 0})
    return path


def order(folder: Path) -> Order:
    return Order(run=folder.name, profile="toy", revision="0", folder=folder)


def test_states_of_slurm_jobs_are_submitit_s(slurm, tmp_path):
    folders = {name: submitted(tmp_path / name, f"12_{index}") for index, name in enumerate("abcd")}
    folders["never"] = tmp_path / "never"
    for folder in (folders["a"], folders["c"]):
        (folder / "where").write_text("node1")
    slurm("sacct", "JobID|State|NodeList\n12_0|RUNNING|n\n12_1|PENDING|n\n12_2|NODE_FAIL|n\n12_3|RUNNING|n")
    states = {name: state for name, (state, _) in jobs.states(folders).items()}
    assert states == {"a": "running", "b": "queued", "c": "lost", "d": "queued", "never": "not submitted"}
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len([call for call in calls if call.startswith("sacct")]) == 1, "one question about all jobs"


def test_a_scheduler_that_does_not_answer_loses_no_job(slurm, tmp_path):
    slurm("sacct", "", status=1)
    assert jobs.states({"a": submitted(tmp_path / "a", "13_0")})["a"][0] == "queued"


def test_a_cancelled_slurm_job_is_ended_and_forgotten(slurm, tmp_path):
    slurm("sacct", "JobID|State|NodeList\n14_0|RUNNING|n\n14_1|FAILED|n")
    slurm("scancel", "")
    folders = [submitted(tmp_path / name, f"14_{index}") for index, name in enumerate("ab")]
    assert [jobs.end(folder) for folder in folders] == [True, False]
    assert "scancel 14_0" in (tmp_path / "calls").read_text()
    assert jobs.states({"a": folders[0]})["a"][0] == "not submitted"


def test_what_slurm_says_to_a_refused_job_is_told(slurm, tmp_path):
    slurm("sbatch", "", status=1)
    with pytest.raises(SubmitError, match=r"slurm took no job: .*; --cluster local uses this machine"):
        jobs.submit([order(tmp_path / "a")], cluster="slurm", parameters={"name": "x"})


@pytest.mark.parametrize("options", [{"gpus": 2, "workers": 3}, {"gpus": 0, "workers": 0}])
def test_slurm_is_asked_for_what_the_profile_s_runs_need(slurm, tmp_path, options):
    slurm("sbatch", "Submitted batch job 15")
    profile = parse(Profile, PROFILE | {"schedules": {"default": {"workers": 8}}}, where="test")
    parameters = leader._parameters(profile, "slurm", **options) | {"name": "x", "slurm_partition": "big"}
    jobs.submit([order(tmp_path / name) for name in "ab"], cluster="slurm", parameters=parameters)
    script = next((tmp_path / "work/submit/submitit").glob("*.sh"))  # each job has the same
    asked = {line.removeprefix("#SBATCH --") for line in script.read_text().splitlines() if line.startswith("#SBATCH")}
    assert {"time=1440", "partition=big", f"cpus-per-task={9 * max(1, options['gpus'])}"} <= asked
    assert {"gpus-per-node=2", "array=0-1%2"} <= asked if options["gpus"] else not any("gpus" in text for text in asked)
    assert [jobs.note(tmp_path / name)["id"] for name in "ab"] == ["15_0", "15_1"]


def test_ctrl_c_while_jobs_are_handed_over_waits_until_they_are_noted(slurm, monkeypatch, tmp_path):
    slurm("sbatch", "Submitted batch job 16")
    monkeypatch.setattr(jobs, "write_json", lambda *note: os.kill(os.getpid(), signal.SIGINT) or write_json(*note))
    before = signal.getsignal(signal.SIGINT)
    jobs.submit([order(tmp_path / "a")], cluster="slurm", parameters={"name": "x"})
    assert jobs.note(tmp_path / "a")["id"].startswith("16")
    assert signal.getsignal(signal.SIGINT) is before


def test_local_jobs_are_known_on_their_own_machine_only(tmp_path):
    with pytest.raises(SubmitError, match="started on elsewhere"):
        jobs.states({"a": submitted(tmp_path, "1", cluster="local", host="elsewhere")})


@pytest.mark.parametrize(
    ("visible", "options", "slots"),
    [
        ("0,3", {}, ("0", "3")),
        ("0,3", {"workers": 3}, ("0", "3", "0")),
        ("0,1,2,3,4", {"gpus": 2}, ("0,1", "2,3")),
        ("", {"workers": 2}, ("", "")),
        ("0,3", {"workers": 2, "gpus": 0}, ("", "")),
    ],
)
def test_each_run_at_a_time_has_its_gpus(monkeypatch, visible, options, slots):
    monkeypatch.delenv("REPROLIB_DEVICE", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert leader._slots(parse(Profile, PROFILE, where="test"), **{"workers": 0, "gpus": 1} | options) == slots


def test_workers_are_small_and_name_the_number_of_processes_as_training_does():
    code = (
        "import sys; from reprolib.pipeline.submit import worker; sys.exit('torch' in sys.modules or worker.PROCESSES)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.strip() == launch.PROCESSES


def test_a_lock_is_held_until_the_last_process_that_has_it_ends(tmp_path):
    paths = [tmp_path / "first", tmp_path / "second"]
    with locked(*paths) as (index, lock):
        assert index == 0
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock])
    with pytest.raises(BlockingIOError), locked(paths[0], wait=False):
        pass
    with locked(*paths) as (index, _):
        assert index == 1, "the first that is free"
    child.communicate(b"\n")
    with locked(paths[0], wait=False):
        pass


def test_settings_are_names_and_values(capsys):
    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)
    assert dict(parser.parse_args(["--set", "mem_gb=32", "--set", "slurm_partition=gpu"]).set) == {
        "mem_gb": 32,
        "slurm_partition": "gpu",
    }
    with pytest.raises(SystemExit):
        parser.parse_args(["--set", "gpu"])
    assert "for example slurm_partition=gpu, not 'gpu'" in capsys.readouterr().err
