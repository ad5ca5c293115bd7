"""Weights that say which run they are of; equal weights, equal bytes; wrong ones refused in one line."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from reprolib.pipeline.runs.weights import WeightsError, load_weights, read_about, save_weights

RUN = SimpleNamespace(id="coco-x-3", profile="demo")


class Shared(nn.Module):
    """One layer under three names, as prompt modules that a cascade's stages share."""

    def __init__(self, width: int = 2) -> None:
        super().__init__()
        self.b = nn.Linear(width, width)
        self.a = self.c = self.b
        self.norm = nn.BatchNorm1d(width)


def test_a_file_says_what_it_is_and_loads_over_shared_layers(tmp_path):
    path = tmp_path / "deep" / "x.safetensors"
    model, other = Shared(), Shared()
    model.norm.running_mean.fill_(3)
    save_weights(path, model, run=RUN, categories=[{"id": 7, "name": "ship"}])
    assert read_about(path) == {"run": "coco-x-3", "profile": "demo", "categories": [{"id": 7, "name": "ship"}]}
    load_weights(other, path)
    assert torch.equal(other.c.weight, model.b.weight) and other.norm.running_mean.tolist() == [3, 3]
    assert [one.name for one in path.parent.iterdir()] == ["x.safetensors"]


def test_equal_weights_are_equal_bytes_in_every_process(tmp_path):
    """safetensors' own `save_model` writes the names of shared tensors in another order each time."""
    code = (
        "import torch; from pathlib import Path; from types import SimpleNamespace as S\n"
        "from torch import nn; from reprolib.pipeline.runs.weights import save_weights\n"
        "m = nn.Module(); m.a = nn.Linear(2, 2); m.b = m.c = m.d = m.a\n"
        "[nn.init.ones_(p) for p in m.parameters()]\n"
        "save_weights(Path({!r}), m, run=S(id='r-0', profile='p'), categories=[])"
    )
    paths = [tmp_path / name for name in ("1", "2", "3")]
    for path in paths:
        subprocess.run([sys.executable, "-c", code.format(str(path))], check=True)
    assert len({path.read_bytes() for path in paths}) == 1


def test_other_weights_are_refused_by_the_first_that_differs(tmp_path):
    path = tmp_path / "x.safetensors"
    save_weights(path, Shared(), run=RUN, categories=[])
    with pytest.raises(WeightsError, match=r"x.safetensors: b.bias is \[2\], the model's \[5\]; was it trained"):
        load_weights(Shared(5), path)
    with pytest.raises(WeightsError, match=r"x.safetensors has an unknown b.bias \(one of 7 such weights\)"):
        load_weights(nn.Sequential(), path)
    save_file({}, path)
    with pytest.raises(WeightsError, match=r"x.safetensors lacks b.bias \(one of 7 such weights\)"):
        load_weights(Shared(), path)
    assert read_about(path) is None


def test_files_that_are_none_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no.safetensors: no such weights"):
        read_about(tmp_path / "no.safetensors")
    (tmp_path / "x.safetensors").write_text("hello, this is text")
    with pytest.raises(WeightsError, match=r"x.safetensors is no safetensors file \("):
        read_about(tmp_path / "x.safetensors")
