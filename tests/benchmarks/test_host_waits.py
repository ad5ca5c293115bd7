"""What makes a GPU's host wait is counted on the CPU: one hand-made case for each cause, and for what costs nothing."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import nms

from benchmarks.host_waits import count_waits
from reprolib.models.on_device import numbers_like
from reprolib.models.two_stage.samples import draw

X = torch.tensor([0.5, -1.0, 2.0, 3.0])
ROWS = torch.tensor([0, 2])
BOXES = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 5], [6, 6, 9, 9]])


def write(x, index, value):
    x = x.clone()
    x[index] = value
    return x


def masked_gradient(x, mask):
    weight = x.clone().requires_grad_()
    weight[mask].sum().backward()


WAITING = {
    "item": (1, lambda: X.sum().item()),
    "float": (1, lambda: float(X[0])),
    "if": (1, lambda: 1 if (X > 0).all() else 0),
    "tolist": (1, lambda: X.tolist()),
    "cpu, then free": (1, lambda: X.cpu().sum().item()),
    "equal": (1, lambda: torch.equal(X, X)),
    "where": (1, lambda: torch.where(X > 0)),
    "mask": (1, lambda: X[X > 0]),
    "mask, and again for its gradient": (2, lambda: masked_gradient(X, X > 0)),
    "tensor through a mask": (1, lambda: write(X, X > 2, X[:1])),
    "number at indices": (1, lambda: write(X, ROWS, 1.0)),
    "list as index": (1, lambda: X[[0, 1]]),
    "indices of the host": (1, lambda: X[torch.arange(2)]),
    "unique": (1, lambda: ROWS.unique()),
    "is in many": (1, lambda: torch.isin(ROWS, torch.arange(50, device=X.device))),
    "repeats on the device": (1, lambda: ROWS.repeat_interleave(ROWS)),
    "NMS": (1, lambda: nms(BOXES, X[:3], 0.5)),
    "tensor of a list": (1, lambda: torch.tensor([1.0, 2.0], device=X.device)),
    "new tensor": (1, lambda: X.new_tensor([1.0, 2.0])),
    "moved there": (1, lambda: torch.tensor([1.0]).to(X.device)),
    "moved to another's": (1, lambda: torch.tensor([1.0]).to(X)),
}
FREE = {
    "shapes": lambda: (X.shape, len(X), X.numel()),
    "sizes known": lambda: (X.topk(2), X.sort(), X[ROWS], X[1:3], X[0], X[None], X.split([1, 3])),
    "made there": lambda: torch.arange(4, device=X.device) + torch.randperm(4, device=X.device) + X,
    "on the host": lambda: int(torch.randint(3, (1,))) + torch.tensor([1.0]).sum().item(),
    "number through a mask": lambda: write(X, X > 2, 1.0),
    "number at a place": lambda: write(X, 1, 1.0),
    "chosen": lambda: torch.where(X > 0, X, 0),
    "is in few": lambda: torch.isin(ROWS, ROWS),
    "classes said": lambda: F.one_hot(ROWS, 3),
    "repeats said": lambda: ROWS.repeat_interleave(2),
    "numbers filled": lambda: numbers_like([1.0, 2.0], X),
    "pinned copy": lambda: torch.tensor([1.0]).to(X.device, non_blocking=True),
    "another type": lambda: X.to(torch.float64),
}


@pytest.mark.parametrize("name", WAITING)
def test_what_waits_is_counted(name):
    times, code = WAITING[name]
    with count_waits() as seen:
        code()
    assert sum(seen.values()) == times, seen


@pytest.mark.parametrize("name", FREE)
def test_what_is_free_is_not(name):
    with count_waits() as seen:
        FREE[name]()
    assert not seen


def test_a_wait_is_put_down_to_the_line_of_the_suite_and_code_takes_its_ways_for_gpus():
    labels = [torch.tensor([1, 0, 1]), torch.tensor([0, 0])]
    with count_waits() as seen:
        assert X.is_cuda and X.device.type == "cuda"
        drawn = draw(labels, batch=8, positive=0.5)
    assert not X.is_cuda and [[one.tolist() for one in rows] for rows in drawn] == [[[0, 2], [1]], [[], [0, 1]]]
    ((wait, times),) = seen.items()
    assert times == 1  # for all masks of all images
    assert wait.place.startswith("models/two_stage/samples.py:") and wait.place.endswith(" draw")
