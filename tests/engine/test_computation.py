"""Other ways to compute the same network are asked for by the schedule, and only the static parts take them."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from reprolib.engine.computation import compile_static_parts
from reprolib.engine.train import train


@pytest.fixture
def parted(toy):
    """The toy with its stem named as the only static part."""

    class Parted(toy.ToyDetector):
        def static_parts(self):
            return (self.stem,)

    torch.manual_seed(3)
    return Parted(noise=False)


def one_step(model, toy, folder, **changes):
    schedule = dataclasses.replace(toy.SCHEDULE, iterations=2, workers=0, **changes)
    train(model, toy.ToyData(), schedule, seed=0, device="cpu", work=folder / "work", log=folder / "log.jsonl")
    return model


def test_by_default_nothing_is_changed(parted, toy, tmp_path, monkeypatch):
    monkeypatch.setattr(nn.Module, "compile", lambda *_, **__: pytest.fail("compiled"))
    assert one_step(parted, toy, tmp_path).stem[0].weight.is_contiguous()


def test_channels_last_is_a_layout_and_changes_results_by_rounding(parted, toy, tmp_path):
    seen = []
    parted.stem[0].register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    start = {name: value.clone() for name, value in parted.state_dict().items()}
    one_step(parted, toy, tmp_path / "last", channels_last=True)
    assert parted.stem[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    plain = type(parted)(noise=False)
    plain.load_state_dict(start)
    one_step(plain, toy, tmp_path / "plain")
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(parted.state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_only_the_static_parts_are_compiled(parted, monkeypatch):
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda module, **options: compiled.append((module, options)))
    names = list(parted.state_dict())
    compile_static_parts(parted)
    assert compiled == [(parted.stem, {"dynamic": None})]
    assert list(parted.state_dict()) == names  # so that weights and checkpoints stay readable


@pytest.mark.parametrize("option", ["channels_last", "compile"])
def test_a_model_that_names_no_static_parts_is_refused(toy, tmp_path, option):
    with pytest.raises(ValueError, match="ToyDetector does not name its static parts"):
        one_step(toy.toy_model(), toy, tmp_path, **{option: True})
