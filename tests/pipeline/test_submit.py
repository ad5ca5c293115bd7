"""What submitting is made of: schedulers' answers, slots, plans that differ, locks, the end of a job."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from reprolib.params import Profile, parse
from reprolib.pipeline.runs import launch
from reprolib.pipeline.submit import leader, queue, verb, worker
from reprolib.pipeline.submit.order import SubmitError, held

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
def squeue(monkeypatch, tmp_path):
    """Let squeue print what a test says."""

    def say(text: str, status: int = 0) -> None:
        script = tmp_path / "squeue"
        script.write_text(f"#!/bin/sh\ncat {'>&2 ' if status else ''}<<'END'\n{text}\nEND\nexit {status}\n")
        script.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return say


def test_slurm_jobs_that_squeue_does_not_list_are_gone(squeue):
    jobs = [{"cluster": "slurm", "id": f"12_{index}", "host": "login"} for index in range(4)]
    squeue("12_0|RUNNING\n12_1|PENDING\n12_10|RUNNING\n12_3|COMPLETING")
    assert queue.alive(jobs) == {"12_0": "running", "12_1": "queued", "12_3": "running"}


def test_a_scheduler_that_does_not_answer_loses_no_job(squeue):
    squeue("", status=1)
    with pytest.raises(SubmitError, match="squeue failed"):
        queue.alive([{"cluster": "slurm", "id": "12_0", "host": "login"}])


def test_slurm_s_commands_without_its_controller_are_told_before_anything_is_done(squeue, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    squeue("Unable to contact slurm controller", status=1)
    with pytest.raises(SubmitError, match=r"Unable to contact slurm controller; or .* --cluster local"):
        leader.submit(parse(Profile, PROFILE, where="test"), leader.Options(cluster="slurm"))


def test_all_that_a_job_started_ends_with_it():
    """Also what is in a session of its own, as the stages of a worker are."""
    inner = "import time; print('', flush=True); time.sleep(600)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}], start_new_session=True)"
    job = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    job.stdout.readline()
    [child] = psutil.Process(job.pid).children()
    queue.kill(psutil.Process(job.pid))
    assert job.wait() == -signal.SIGKILL
    assert job.stdout.read() == b"", "the last process that could write to it has ended"
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_local_jobs_are_known_on_their_own_machine_only():
    with pytest.raises(SubmitError, match="started on elsewhere"):
        queue.alive([{"cluster": "local", "id": "1", "host": "elsewhere"}])


@pytest.mark.parametrize("options", [{"gpus": 2, "workers": 3, "settings": {"slurm_partition": "big"}}, {"gpus": 0}])
def test_slurm_is_asked_for_what_the_profile_s_runs_need(monkeypatch, tmp_path, options):
    monkeypatch.chdir(tmp_path)
    asked = []
    monkeypatch.setattr(leader, "send", lambda folders, **given: asked.append(given) or [{"id": "7_0"}])
    profile = parse(Profile, PROFILE | {"schedules": {"default": {"workers": 8}}}, where="test")
    leader._send(profile, ["a"], {"a": tmp_path / "a"}, leader.Options(cluster="slurm", **options), first=True)
    [given] = asked
    expected = {"name": "reprolib-toy", "timeout_min": 1440, "cpus_per_task": 9 * max(1, options["gpus"])}
    if options["gpus"]:
        expected |= {"gpus_per_node": 2, "slurm_array_parallelism": 3, "slurm_partition": "big"}
    assert given["cluster"] == "slurm" and given["parameters"] == expected
    assert json.loads((tmp_path / "a/jobs.json").read_text()) == [{"id": "7_0"}]


def test_ctrl_c_while_jobs_are_handed_over_waits_until_they_are_noted(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(leader, "send", lambda folders, **given: os.kill(os.getpid(), signal.SIGINT) or [{"id": "7"}])
    before = signal.getsignal(signal.SIGINT)
    profile = parse(Profile, PROFILE, where="test")
    with pytest.raises(KeyboardInterrupt):
        leader._send(profile, ["a"], {"a": tmp_path / "a"}, leader.Options(), first=True)
    assert json.loads((tmp_path / "a/jobs.json").read_text()) == [{"id": "7"}]
    assert signal.getsignal(signal.SIGINT) is before


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
    assert leader._slots(parse(Profile, PROFILE, where="test"), leader.Options(**options)) == slots


def test_workers_are_small_and_name_the_number_of_processes_as_training_does():
    code = (
        "import sys; from reprolib.pipeline.submit import worker; sys.exit('torch' in sys.modules or worker.PROCESSES)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.strip() == launch.PROCESSES


def test_plans_that_differ_say_where():
    one = {"run": "a", "data": "1", "code": {"reprolib.x": "1", "reprolib.y": "1"}, "fingerprint": "1"}
    other = {"run": "a", "data": "1", "code": {"reprolib.x": "2", "reprolib.z": "1"}, "fingerprint": "2"}
    assert worker.differences(one, other) == ["code reprolib.x", "code reprolib.y", "code reprolib.z"]
    assert worker.differences(one, one) == []


def test_a_lock_is_held_until_the_last_process_that_has_it_ends(tmp_path):
    with held(tmp_path / "lock", wait=False) as lock:
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock])
    with pytest.raises(SubmitError, match="somebody's"), held(tmp_path / "lock", wait=False, whose="somebody's"):
        pass
    child.communicate(b"\n")
    with held(tmp_path / "lock", wait=False):
        pass


def test_settings_are_names_and_values():
    assert verb._settings(["mem_gb=32", "slurm_partition=gpu"]) == {"mem_gb": 32, "slurm_partition": "gpu"}
    with pytest.raises(ValueError, match="slurm_partition=gpu, not 'gpu'"):
        verb._settings(["gpu"])
