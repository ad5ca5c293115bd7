from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from reprolib.data.transforms import derived_seed
from reprolib.engine.devices import hardware_name, pick_device
from reprolib.engine.seeds import seed_everything


def test_without_an_override_a_working_device_is_found(monkeypatch):
    monkeypatch.delenv("REPROLIB_DEVICE", raising=False)
    assert torch.ones(2, device=pick_device()).sum() == 2


def test_a_gpu_that_does_not_compute_is_passed_over(monkeypatch, capsys):
    monkeypatch.delenv("REPROLIB_DEVICE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("reprolib.engine.devices._trouble", lambda device: "no kernel image is available")
    assert pick_device() == "cpu"
    assert "no kernel image is available" in capsys.readouterr().out


def test_the_override_wins_and_is_checked(monkeypatch):
    monkeypatch.setenv("REPROLIB_DEVICE", "cpu")
    assert pick_device() == "cpu"
    monkeypatch.setenv("REPROLIB_DEVICE", "gpu")
    with pytest.raises(ValueError, match="REPROLIB_DEVICE='gpu'"):
        pick_device()
    monkeypatch.setenv("REPROLIB_DEVICE", "cuda:99")
    with pytest.raises(RuntimeError, match="REPROLIB_DEVICE=cuda:99 does not work"):
        pick_device()


def test_a_processor_is_named_with_its_threads():
    name, threads = hardware_name("cpu").rsplit(", ", 1)
    assert name and threads.split()[0] == str(torch.get_num_threads())


def test_all_three_generators_are_seeded():
    def draw():
        return random.random(), np.random.random(), torch.rand(1).item()

    seed_everything(4)
    first = draw()
    seed_everything(4)
    assert draw() == first
    seed_everything(5)
    assert not set(draw()) & set(first)


def test_neighbouring_positions_share_no_seed():
    seeds = {derived_seed(seed, iteration, part) for seed in range(5) for iteration in range(50) for part in range(2)}
    assert len(seeds) == 500
    assert derived_seed(1, 2) == derived_seed(1, 2) >= 0
