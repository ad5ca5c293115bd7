"""Where a repro's time went: hand-made records and notebooks, and sums that come out."""

import json
import time
from datetime import timedelta
from pathlib import Path

import pytest

from reprolib.params import load_profile
from reprolib.pipeline.repro_time import Clock, breakdown, store, text

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def profile(monkeypatch, tmp_path):
    """The demo profile with its results below an empty folder."""
    monkeypatch.chdir(tmp_path)
    return load_profile("demo", path=ROOT / "params.yaml")


def executed(profile, run, *, start, train=None, evaluate=None, training=0.0, images=80, rate=20.0):
    """What a run leaves: `train` and `evaluate` are the seconds of its notebooks."""
    for verb, seconds in (("train", train), ("evaluate", evaluate)):
        if seconds is not None:
            papermill = {"start_time": start.isoformat(), "duration": seconds}
            path = profile.results / "notebooks" / f"{verb}-{run}.ipynb"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"metadata": {"papermill": papermill}}))
    record = {"training": {"seconds": training}, "data": {"images": images}, "speed": {"images_per_second": rate}}
    (profile.results / "records").mkdir(parents=True, exist_ok=True)
    (profile.results / "records" / f"{run}.json").write_text(json.dumps(record))


def test_parts_add_up_to_the_seconds_of_the_runs(profile):
    clock = Clock()
    clock.phases = {"runs": 35.0, "report": 5.0}
    after = clock.began + timedelta(seconds=1)
    executed(
        profile, "one", start=after, train=33.0, evaluate=7.0, training=30.0
    )  # detecting: 80 images at 20 a second
    executed(profile, "two", start=after, train=13.0, evaluate=9.0, training=10.0, rate=16.0)
    found = breakdown(profile, clock, runs=["one", "two"], seconds=66.0, jobs=2)
    assert found["run_seconds"] == {"training": 40.0, "detecting": 9.0, "notebooks": 13.0, "dvc": 4.0}
    assert (found["trained"], found["evaluated"], found["seconds"]) == (2, 2, 40.0)
    said = text(found)
    assert "0.7 minutes" in said and "runs 35 s, report 5 s" in said and "training 40 s" in said
    assert "notebooks and dvc 8.5 s each" in said
    path = store(profile, found)
    assert path == profile.results / "time.json" and json.loads(path.read_text()) == found


def test_what_was_restored_or_finished_before_is_no_training(profile):
    clock = Clock()
    clock.phases = {"runs": 10.0}
    before, after = clock.began - timedelta(hours=1), clock.began + timedelta(seconds=1)
    executed(profile, "restored", start=before, train=33.0, evaluate=7.0, training=30.0)
    executed(profile, "finished", start=after, train=3.0, training=30.0)  # its checkpoint only has been read
    found = breakdown(profile, clock, runs=["restored", "finished", "never"], seconds=10.0, jobs=2)
    assert found["run_seconds"] == {"training": 0.0, "detecting": 0.0, "notebooks": 3.0, "dvc": 7.0}
    assert (found["trained"], found["evaluated"]) == (1, 0)


def test_without_a_run_nothing_is_stored_and_the_phases_are_told(profile):
    clock = Clock()
    clock.phases = {"tables": 90.0}
    found = breakdown(profile, clock, runs=[], seconds=0.0, jobs=2)
    assert store(profile, found) is None and not (profile.results / "time.json").exists()
    assert text(found).endswith("tables 90 s")


def test_a_phase_counts_what_happens_within_also_when_it_fails():
    clock = Clock()
    for _ in range(2):
        with pytest.raises(KeyError), clock.phase("runs"):
            time.sleep(0.02)
            raise KeyError
    assert list(clock.phases) == ["runs"] and clock.phases["runs"] >= 0.04
