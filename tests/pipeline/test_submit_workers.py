"""Runs sent to other processes: clones, a killed worker, nothing done twice. Stages are a few lines, not training.

Nothing here goes by the clock: who waits, waits for what the others write. DEADLINE_S only ends what stands still.
"""

import contextlib
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

from reprolib.pipeline.submit import jobs

ROOT = Path(__file__).parent.parent.parent
DEADLINE_S = 600
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

# A stage of a run that counts its iterations in the work folder, as a training with checkpoints does. Before the fourth
# it waits while work/pause names a living process, and breaks where work/fail names it.
STAGE = """
import json, os, sys, time
from pathlib import Path

stage, profile, run = sys.argv[1:]
results = Path("results") / profile

def write(name, text):
    path = results / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)

def paused():
    try:
        os.kill(int(Path("work/pause").read_text()), 0)
    except OSError:
        return False
    return True

if stage == "data":
    write(f"data/{run}.json", json.dumps({"fingerprint": Path("data/images").read_text()}))
if stage == "train":
    plan = json.loads((results / "runs" / "train" / f"{run}.json").read_text())
    work = Path("work") / plan["fingerprint"]
    work.mkdir(parents=True, exist_ok=True)
    with (work / "starts").open("a") as file:
        file.write(f"{os.getpid()} {os.environ['CUDA_VISIBLE_DEVICES']} {os.environ['REPROLIB_PROCESSES']}\\n")
    log = work / "log.jsonl"
    done = len(log.read_text().splitlines()) if log.exists() else 0
    for iteration in range(done + 1, 7):
        while iteration == 4 and paused():
            time.sleep(0.05)
        if iteration == 4 and Path("work/fail").exists() and Path("work/fail").read_text() == run:
            sys.exit("it broke")
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
        self.path, self.pause, self.fail = path, path / "work/pause", path / "work/fail"
        self.said = path.parent / f"{path.name}-said"
        self.said.mkdir()

    def fill(self) -> None:
        shutil.copytree(ROOT / "reprolib", self.path / "reprolib", ignore=shutil.ignore_patterns("__pycache__"))
        for name in (".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore"):
            (self.path / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, self.path / name)
        pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
        stages = {name: pipeline[name] for name in ("data", "plan", "train", "evaluate")}
        for name in ("data", "train", "evaluate"):
            item = "${item.dataset}" if name == "data" else "${item.experiment}-${item.seed}"
            stages[name]["cmd"] = f"python stage.py {name} ${{profile.name}} {item}"
        stages["data"]["deps"] = ["stage.py"]
        (self.path / "dvc.yaml").write_text(yaml.safe_dump({"vars": ["matrix.yaml"], "stages": stages}))
        paper = yaml.safe_load((ROOT / "params.yaml").read_text())["profiles"]["paper"]
        (self.path / "params.yaml").write_text(
            yaml.safe_dump({"profiles": {"toy": PROFILE, "paper": paper}, "profile": PROFILE})
        )
        (self.path / "stage.py").write_text(STAGE)
        (self.path / "data").mkdir()
        (self.path / "data" / "images").write_text("abc")
        (self.path / "work").mkdir()
        self.run(sys.executable, "-m", "reprolib", "plan")
        self.run("git", "init", "--quiet", "--initial-branch", "main")
        self.commit("start")

    def clone(self, path: Path) -> "Project":
        """Another leader at the same commit, which shares this one's DVC cache."""
        other = Project(path)
        self.run("git", "clone", "--quiet", str(self.path), str(path))
        shutil.copytree(self.path / "data", path / "data")
        (path / "work").mkdir()
        other.run("dvc", "cache", "dir", "--local", str(self.path / ".dvc/cache"))
        return other

    def commit(self, message: str) -> None:
        self.run("git", "add", "--all")
        self.run("git", "-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "-qm", message)

    def start(self, *command: str) -> tuple[subprocess.Popen, Path]:
        """A command under way, and the file of what it says; no pipe, which its jobs could hold open."""
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "DVC_NO_ANALYTICS": "1",
            "PYTHONPATH": str(self.path),
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "6,7",  # of two GPUs, by their names; none is used
        }
        said = self.said / f"{len(list(self.said.iterdir()))}"
        with said.open("w") as file:
            process = subprocess.Popen(
                command,
                cwd=self.path,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                # What a shell started in the background ignores it, and so would the leader.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        return process, said

    def end(self, process: subprocess.Popen, said: Path, *, status: int = 0) -> str:
        """Wait for a command; returns what it said."""
        try:
            process.wait(timeout=DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            pytest.fail(f"no end after {DEADLINE_S} s: {' '.join(process.args)}\n{said.read_text()[-4000:]}")
        assert process.returncode == status, f"{' '.join(process.args)}\n{said.read_text()[-8000:]}"
        return said.read_text()

    def run(self, *command: str, status: int = 0) -> str:
        command = (sys.executable, "-m", *command) if command[0] == "dvc" else command
        return self.end(*self.start(*command), status=status)

    def submit(self, *options: str) -> tuple[subprocess.Popen, Path]:
        return self.start(sys.executable, "-m", "reprolib", "submit", "--cluster", "local", *options)

    def submitted(self, *options: str, status: int = 0) -> str:
        return self.end(*self.submit(*options), status=status)

    def folder(self, run: str) -> Path:
        [found] = (self.path / "work/submit/toy").glob(f"{run}.*")
        return found

    def checkpoints(self, run: str) -> Path:
        plan = json.loads((self.path / f"results/toy/runs/train/{run}.json").read_text())
        return self.path / "work" / plan["fingerprint"]

    def starts(self, run: str) -> list[str]:
        path = self.checkpoints(run) / "starts"
        return path.read_text().splitlines() if path.exists() else []

    def iterations(self, run: str) -> list[int]:
        path = self.checkpoints(run) / "log.jsonl"
        return [json.loads(line)["iteration"] for line in path.read_text().splitlines()] if path.exists() else []

    def clean(self) -> None:
        """End what a test that failed left behind."""
        self.pause.unlink(missing_ok=True)
        for path in (self.path / "work/submit/toy").glob("*/job.json"):
            with contextlib.chdir(self.path):
                jobs.end(path.parent)


def until(what: str, condition, process: subprocess.Popen | None = None, said: Path | None = None) -> None:
    """Wait for what jobs will bring about, while the leader's process runs."""
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert process is None or process.poll() is None, f"ended before {what}\n{said.read_text()[-8000:]}"
        assert time.monotonic() < end, f"after {DEADLINE_S} s not yet {what}"
        time.sleep(0.05)


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Two runs, the leader interrupted and started again: one's worker is killed, the other fails and is sent again."""
    made = Project(tmp_path_factory.mktemp("submit") / "leader")
    made.path.mkdir()
    made.fill()
    made.pause.write_text(str(os.getpid()))
    try:
        process, said = made.submit()
        shown = [f"{run}  running" for run in RUNS]
        until("both runs are told to run", lambda: all(text in said.read_text() for text in shown), process, said)
        until("both wait", lambda: all(len(made.iterations(run)) == 3 for run in RUNS), process, said)
        process.send_signal(signal.SIGINT)
        made.interrupted = made.end(process, said, status=130)
        made.status = made.submitted("--status")
        process, said = made.submit()
        until("the second leader follows", lambda: "submitted to local" in said.read_text(), process, said)
        made.refused = made.submitted(status=2)
        stage = psutil.Process(int(made.starts(RUNS[0])[0].split()[0]))
        worker = next(parent for parent in stage.parents() if "submitit.core._submit" in parent.cmdline())
        for process_of_run in [worker, *worker.children(recursive=True)]:
            process_of_run.kill()
        made.fail.write_text(RUNS[1])
        made.pause.unlink()
        made.followed = made.end(process, said, status=1)
        made.fail.unlink()
        made.again = made.submitted()
        yield made
    finally:
        made.clean()


def test_ctrl_c_leaves_the_jobs_and_status_is_one_table(project):
    assert "The jobs go on" in project.interrupted
    rows = [line.split() for line in project.status.splitlines() if line.startswith("coco")]
    assert [row[0] for row in rows] == list(RUNS)
    assert all(row[1] == "running" and row[-4:] == ["iteration", "3", "of", "6"] for row in rows)
    assert {"GPU 6", "GPU 7"} == {name for name in ("GPU 6", "GPU 7") if name in project.status}
    assert "2 runs: 0 done, 2 under way, 0 submitted" in project.followed
    assert "another `reprolib submit` follows these runs" in project.refused


def test_a_killed_worker_s_run_is_submitted_again_and_resumes(project):
    assert f"1 lost, submitted again: {RUNS[0]}" in project.followed
    assert project.iterations(RUNS[0]) == [1, 2, 3, 4, 5, 6] and len(project.starts(RUNS[0])) == 2
    assert {tuple(project.starts(run)[0].split()[1:]) for run in RUNS} == {("6", "1"), ("7", "1")}, "one GPU each"


def test_a_failed_run_is_told_and_the_others_go_on(project):
    log = project.folder(RUNS[1]) / "log"
    assert f"{RUNS[1]}  failed" in project.followed and f"see {log.relative_to(project.path)}" in project.followed
    assert "2 runs: 1 done, 1 failed" in project.followed
    assert "it broke" in log.read_text()
    assert "2 runs: 1 done, 0 under way, 1 submitted" in project.again, "a failure is no lost worker"
    assert project.iterations(RUNS[1]) == [1, 2, 3, 4, 5, 6] and len(project.starts(RUNS[1])) == 2


def test_results_are_in_the_leader_and_dvc_repro_executes_nothing(project):
    for run in RUNS:
        record = json.loads((project.path / f"results/toy/records/{run}.json").read_text())
        assert record == {"run": run, "read": f"weights of {run}"}
    assert not list((project.path / "work/submit/toy").glob("*/clone"))
    starts = [project.starts(run) for run in RUNS]
    assert "up to date" in project.run("dvc", "repro")
    assert [project.starts(run) for run in RUNS] == starts


@pytest.fixture(scope="module")
def other(project):
    made = project.clone(project.path.parent / "other")
    yield made
    made.clean()


def test_a_clone_that_shares_the_cache_restores_finished_runs_without_training(other):
    assert "is missing: `reprolib submit` or `dvc repro plan` writes it" in other.submitted("--status", status=2)
    said = other.submitted(RUNS[0].rpartition("-")[0])
    assert "1 runs: 0 done, 0 under way, 1 submitted" in said and "1 runs: 1 done" in said
    assert (other.path / f"results/toy/weights/{RUNS[0]}.safetensors").read_text() == f"weights of {RUNS[0]}"
    assert not other.starts(RUNS[0])


def test_a_change_is_committed_first_then_the_run_is_cancelled_and_goes_on(other):
    document = yaml.safe_load((other.path / "params.yaml").read_text())
    for profile in (document["profile"], document["profiles"]["toy"]):
        profile["schedules"]["default"]["lr"] = 0.5
        profile["experiments"] = profile["experiments"][:1]
    (other.path / "params.yaml").write_text(yaml.safe_dump(document))
    other.run(sys.executable, "-m", "reprolib", "plan")
    assert "not all changes are in a commit: commit first" in other.submitted(status=2)
    assert not other.starts(RUNS[0]), "nothing is trained in the leader"
    other.commit("another learning rate")
    other.pause.write_text(str(os.getpid()))
    process, said = other.submit("--workers", "1")
    until("the run waits", lambda: len(other.iterations(RUNS[0])) == 3, process, said)
    stage = int(other.starts(RUNS[0])[0].split()[0])
    assert "1 jobs ended" in other.submitted("--cancel")
    assert "not submitted" in other.end(process, said, status=1)
    until("the stage has ended", lambda: gone(stage))
    other.pause.unlink()
    assert "1 runs: 1 done" in other.submitted()
    assert json.loads((other.path / f"results/toy/records/{RUNS[0]}.json").read_text())["run"] == RUNS[0]
    assert other.iterations(RUNS[0]) == [1, 2, 3, 4, 5, 6] and len(other.starts(RUNS[0])) == 2
