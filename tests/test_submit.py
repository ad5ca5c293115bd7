"""Runs sent to other processes: clones, a killed worker, nothing done twice. Stages are a few lines, not training."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from reprolib.params import Profile, parse
from reprolib.runs import launch
from reprolib.submit import leader, queue, verb, worker
from reprolib.submit.order import SubmitError, held

ROOT = Path(__file__).parent.parent
RUNS = ("coco-mask_rcnn_r50-0", "coco-iemask_rcnn_r50-cem-0")
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
    "experiments": [name.rpartition("-")[0] for name in RUNS],
    "tables": [],
    "papers": [],
}

# A stage of a run that counts its iterations in the work folder, as a training with checkpoints does.
STAGE = """
import json, os, sys, time
from pathlib import Path

stage, profile, run = sys.argv[1:]
results = Path("results") / profile

def write(name, text):
    path = results / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)

if stage == "data":
    write(f"data/{run}.json", json.dumps({"fingerprint": Path("data/images").read_text()}))
if stage == "train":
    plan = json.loads((results / "runs" / "train" / f"{run}.json").read_text())
    work = Path("work") / plan["fingerprint"]
    work.mkdir(parents=True, exist_ok=True)
    with (work / "starts").open("a") as file:
        file.write(f"{os.getpid()} {os.environ['CUDA_VISIBLE_DEVICES']} {os.environ['REPROLIB_PROCESSES']}\\n")
    if Path("work/fail").exists():
        sys.exit("it broke")
    log = work / "log.jsonl"
    done = len(log.read_text().splitlines()) if log.exists() else 0
    end = time.time() + 900  # of a test that failed and left its workers paused
    for iteration in range(done + 1, 7):
        while Path("work/pause").exists() and iteration > 3 and time.time() < end:
            time.sleep(0.05)
        with log.open("a") as file:
            file.write(json.dumps({"iteration": iteration, "iterations": 6}) + "\\n")
    write(f"weights/{run}.safetensors", f"weights of {run}")
    write(f"training/{run}.jsonl", log.read_text())
    write(f"training/{run}.json", run)
if stage == "evaluate":
    write(f"predictions/{run}.json", "[]")
    write(f"matches/{run}.npz", "")
    write(f"records/{run}.json", json.dumps({"run": run, "read": (results / f"weights/{run}.safetensors").read_text()}))
write(f"notebooks/{stage}-{run}.ipynb", "{}")
"""


class Project:
    """A leader: this package, dvc.yaml's own stages with toy commands, and the commands a user types in it."""

    def __init__(self, path: Path):
        self.path = path
        shutil.copytree(ROOT / "reprolib", path / "reprolib", ignore=shutil.ignore_patterns("__pycache__"))
        for name in (".gitignore", ".dvcignore", ".dvc/config"):
            (path / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, path / name)
        pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
        stages = {name: pipeline[name] for name in ("data", "plan", "train", "evaluate")}
        for name in ("data", "train", "evaluate"):
            item = "${item.dataset}" if name == "data" else "${item.experiment}-${item.seed}"
            stages[name]["cmd"] = f"python stage.py {name} ${{profile.name}} {item}"
        stages["data"]["deps"] = ["stage.py"]
        (path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
        paper = yaml.safe_load((ROOT / "params.yaml").read_text())["profiles"]["paper"]
        (path / "params.yaml").write_text(
            yaml.safe_dump({"profiles": {"toy": PROFILE, "paper": paper}, "profile": PROFILE})
        )
        (path / "stage.py").write_text(STAGE)
        (path / "data").mkdir()
        (path / "data" / "images").write_text("abc")
        self.run("git", "init", "--quiet", "--initial-branch", "main")
        self.commit("start")

    def commit(self, message: str) -> None:
        self.run("git", "add", "--all")
        self.run("git", "-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "-qm", message)

    def start(self, *command: str) -> subprocess.Popen:
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "DVC_NO_ANALYTICS": "1",
            "PYTHONPATH": str(self.path),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "6,7",  # of two GPUs, by their names; none is used
        }
        return subprocess.Popen(
            command, cwd=self.path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def submit(self, *options: str) -> subprocess.Popen:
        return self.start(sys.executable, "-m", "reprolib", "submit", *options)

    def run(self, *command: str, status: int = 0) -> str:
        command = (sys.executable, "-m", *command) if command[0] == "dvc" else command
        process = self.start(*command)
        out, error = process.communicate(timeout=600)
        assert process.returncode == status, f"{' '.join(command)}\n{out[-4000:]}\n{error[-4000:]}"
        return out + error

    def sent(self, *options: str, status: int = 0) -> str:
        return self.run(sys.executable, "-m", "reprolib", "submit", "--cluster", "local", *options, status=status)

    def clone(self, path: Path, *, cache: Path) -> "Project":
        """Another leader at the same commit."""
        other = Project.__new__(Project)
        other.path = path
        self.run("git", "clone", "--quiet", str(self.path), str(path))
        shutil.copytree(self.path / "data", path / "data")
        (path / "work").mkdir()
        other.run("dvc", "cache", "dir", "--local", str(cache))
        return other

    def folder(self, run: str) -> Path:
        [found] = (self.path / "work/submit/toy").glob(f"{run}.*")
        return found

    def checkpoints(self, run: str) -> Path:
        plan = json.loads((self.path / f"results/toy/runs/train/{run}.json").read_text())
        return self.path / "work" / plan["fingerprint"]

    def starts(self, run: str) -> list[str]:
        path = self.checkpoints(run) / "starts"
        return path.read_text().splitlines() if path.exists() else []


def until(condition, process: subprocess.Popen | None = None) -> None:
    """Wait for what jobs will bring about, while the leader's process runs."""
    end = time.monotonic() + 600
    while not condition():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Two runs submitted; the leader interrupted and started again; a worker killed with all that it started."""
    made = Project(tmp_path_factory.mktemp("submit") / "leader")
    pause = made.path / "work/pause"
    pause.parent.mkdir()
    pause.touch()
    try:
        process = made.submit("--cluster", "local")
        until(lambda: all(_iterations(made, run) == 3 for run in RUNS), process)
        process.send_signal(signal.SIGINT)
        made.interrupted = process.communicate(timeout=600)[0]
        assert process.returncode == 130
        made.status = made.sent("--status")
        process = made.submit("--cluster", "local")
        said = next(line for line in process.stdout if "under way" in line)
        made.refused = made.sent(status=2)
        stage = psutil.Process(int(made.starts(RUNS[0])[0].split()[0]))
        of_worker = next(one for one in stage.parents() if "submitit.core._submit" in " ".join(one.cmdline()))
        for one in [*of_worker.children(recursive=True), of_worker]:
            one.kill()
    finally:
        pause.unlink()  # paused workers would outlive this test
    out, error = process.communicate(timeout=600)
    assert process.returncode == 0, f"{out}\n{error}"
    made.said = said + out
    return made


def _iterations(project: Project, run: str) -> int:
    try:
        return len((project.checkpoints(run) / "log.jsonl").read_text().splitlines())
    except OSError:
        return 0


@pytest.mark.slow  # together a minute on an idle machine, many on a full one
def test_ctrl_c_leaves_the_jobs_and_status_is_one_table(project):
    assert "The jobs go on" in project.interrupted
    rows = [line.split() for line in project.status.splitlines() if line.startswith("coco")]
    assert [row[0] for row in rows] == list(RUNS)
    assert all(row[1] == "running" and row[-4:] == ["iteration", "3", "of", "6"] for row in rows)
    assert {"GPU 6", "GPU 7"} == {name for name in ("GPU 6", "GPU 7") if name in project.status}
    assert "2 runs: 0 done, 2 under way, 0 submitted" in project.said
    assert "another `reprolib submit` follows these runs" in project.refused


@pytest.mark.slow  # together a minute on an idle machine, many on a full one
def test_a_killed_worker_s_run_is_submitted_again_and_resumes(project):
    assert f"1 lost, submitted again: {RUNS[0]}" in project.said
    assert [len(project.starts(run)) for run in RUNS] == [2, 1]
    for run in RUNS:
        lines = (project.checkpoints(run) / "log.jsonl").read_text().splitlines()
        assert [json.loads(line)["iteration"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert {tuple(project.starts(run)[0].split()[1:]) for run in RUNS} == {("6", "1"), ("7", "1")}, "one GPU each"


@pytest.mark.slow  # together a minute on an idle machine, many on a full one
def test_results_are_in_the_leader_and_nothing_is_done_again(project):
    for run in RUNS:
        record = json.loads((project.path / f"results/toy/records/{run}.json").read_text())
        assert record == {"run": run, "read": f"weights of {run}"}
    assert not list((project.path / "work/submit/toy").glob("*/clone"))
    starts = [project.starts(run) for run in RUNS]
    assert "2 runs: 2 done, 0 under way, 0 submitted" in project.sent()
    assert "up to date" in project.run("dvc", "repro")
    assert [project.starts(run) for run in RUNS] == starts


@pytest.fixture(scope="module")
def other(project):
    return project.clone(project.path.parent / "other", cache=project.path / ".dvc/cache")


@pytest.mark.slow  # together a minute on an idle machine, many on a full one
def test_finished_runs_are_known_in_a_clone_that_shares_the_cache(other):
    assert "2 runs: 2 done, 0 under way, 0 submitted" in other.sent()
    assert (other.path / f"results/toy/weights/{RUNS[0]}.safetensors").read_text() == f"weights of {RUNS[0]}"


@pytest.mark.slow  # together a minute on an idle machine, many on a full one
def test_a_change_is_committed_first_then_the_run_fails_is_cancelled_and_comes_home_by_a_remote(other, tmp_path):
    document = yaml.safe_load((other.path / "params.yaml").read_text())
    for profile in (document["profile"], document["profiles"]["toy"]):
        profile["schedules"]["default"]["lr"] = 0.5
        profile["experiments"] = profile["experiments"][:1]
    (other.path / "params.yaml").write_text(yaml.safe_dump(document))
    said = other.sent(status=2)
    assert f"{RUNS[0]} planned from commit" in said and "differs in recipe" in said and "commit changes" in said
    assert not other.starts(RUNS[0]), "nothing is trained in the leader"
    other.commit("another learning rate")
    (other.path / "work/fail").touch()
    said = other.sent(status=1)
    assert f"failed  {RUNS[0]}" in said and f"see {other.folder(RUNS[0]).relative_to(other.path)}/log" in said
    assert "it broke" in (other.folder(RUNS[0]) / "log").read_text()
    assert len(other.starts(RUNS[0])) == 1, "a failure is no lost worker"
    (other.path / "work/fail").unlink()
    (other.path / "work/pause").touch()
    other.sent("--detach", "--workers", "1")
    until(lambda: _iterations(other, RUNS[0]) == 3)
    assert "1 jobs ended" in other.sent("--cancel") and "1 cancelled" in other.sent("--status")
    stage = int(other.starts(RUNS[0])[-1].split()[0])
    until(lambda: not psutil.pid_exists(stage) or psutil.Process(stage).status() == psutil.STATUS_ZOMBIE)
    (other.path / "work/pause").unlink()
    store = tmp_path / "store"
    other.run("dvc", "remote", "add", "--local", "store", str(store))
    assert "All runs are here" in other.sent("--remote", "store")
    assert json.loads((other.path / f"results/toy/records/{RUNS[0]}.json").read_text())["run"] == RUNS[0]
    assert list((store / "runs").glob("*/*/*")) and len(other.starts(RUNS[0])) == 3


@pytest.fixture
def squeue(monkeypatch, tmp_path):
    """Let squeue print what a test says."""

    def say(text: str, status: int = 0) -> None:
        script = tmp_path / "squeue"
        script.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\nexit {status}\n")
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
    code = "import sys; from reprolib.submit import worker; sys.exit('torch' in sys.modules or worker.PROCESSES)"
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
