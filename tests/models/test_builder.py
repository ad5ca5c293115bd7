"""The one way to a detector: a builder gets what it takes, and nothing that it does not have is passed on."""

from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace

import pytest

from reprolib import models
from reprolib.models.builder import build_system
from reprolib.models.input_transform import InputSize
from reprolib.params import Scale

COMMON = {"num_classes": 3, "backbone": "resnet50", "scale": Scale(), "input_size": InputSize(), "images_per_batch": 2}


def system(build):
    return SimpleNamespace(NAME="Toy R-CNN", build=build)


def plain(*, num_classes, backbone, dialect="d2", relu=True):
    return num_classes, backbone, dialect, relu


def with_components(*, scale, input_size, images_per_batch, components=(), **switches):
    return scale, input_size, images_per_batch, components, switches


def test_a_builder_gets_what_it_takes() -> None:
    assert build_system(system(plain), **COMMON, switches={"relu": False}) == (3, "resnet50", "d2", False)
    built = build_system(system(with_components), **COMMON, components=["gim"], switches={"host": "htc"})
    assert built == (Scale(), InputSize(), 2, ("gim",), {"host": "htc"})


@pytest.mark.parametrize(
    ("build", "arguments", "message"),
    [
        (plain, {"components": ("gim", "aff")}, "Toy R-CNN has no components, but gim, aff is switched on"),
        (plain, {"switches": {"host": "htc"}}, "Toy R-CNN has no switch 'host'; there are dialect, relu"),
        (plain, {"switches": {"backbone": "vgg"}}, "Toy R-CNN has no switch 'backbone'; there are dialect, relu"),
        (lambda *, scale: scale, {"switches": {"relu": True}}, "Toy R-CNN has no switch 'relu'; there are none"),
    ],
)
def test_what_a_system_does_not_have_is_refused(build, arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        build_system(system(build), **COMMON | {"switches": {}} | arguments)


def test_models_know_no_training_schedule() -> None:
    """Of params.yaml they take the widths and counts of networks alone, so that a builder needs no profile."""
    folder = Path(models.__file__).parent
    imported = {
        name.name
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "reprolib.params"
        for name in node.names
    }
    assert imported == {"Scale"}
