"""Shapes by hooks."""

import torch
from torch import nn

from reprolib.models.drawing.shapes import Seen, shape_text, shapes_seen


class Parts(nn.Module):
    """Its parts are called, not itself."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 1)


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.parts, self.idle, self.pair = Parts(), nn.Conv2d(3, 3, 1), nn.Identity()

    def dry_run(self, height, width, *, proposals, detections):
        x = self.parts.last(self.parts.first(torch.zeros(1, 3, height, width)))
        self.pair({"maps": [x, x[:, :2]]})
        self.pair(x[:, :1])


def test_first_calls_parts_and_nested_outputs():
    model = Detector()
    named = {"pair": model.pair, "parts": model.parts, "idle": model.idle, "first": model.parts.first}
    seen = shapes_seen(model, named, height=6, width=7, proposals=1, detections=1)
    assert list(seen) == ["pair", "parts", "first"]
    assert seen["parts"] == Seen([(1, 3, 6, 7)], [(1, 5, 6, 7)])
    assert seen["first"].outputs == [(1, 4, 6, 7)]
    assert shape_text(seen["pair"].outputs) == "5×6×7, 2×6×7"
    assert not any(module._forward_hooks for module in model.modules())
