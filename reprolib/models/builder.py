"""The one way from a system's module to its detector, with what every builder may take and what is refused."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from types import ModuleType

from torch import nn

from reprolib.models.input_transform import InputSize
from reprolib.models.switch_checks import check_components, check_switches
from reprolib.params import Scale


def build_system(
    module: ModuleType,
    *,
    num_classes: int,
    backbone: str,
    scale: Scale,
    input_size: InputSize,
    images_per_batch: int,
    components: Sequence[str] = (),
    switches: Mapping[str, object],
) -> nn.Module:
    """The detector that `build` in a system's module makes.

    The parameters of `build` are what it uses of the following, and its own switches, all by keyword.

    num_classes: foreground classes, K. backbone: timm's name of the published backbone. scale: widths and counts.
    input_size: short and long sides in px. images_per_batch: that are computed at once in training, which batch norm
    depends on. components: the parts of the system that are switched on. switches: by name.
    Raises ValueError for components and switches that the system does not have, before anything is built; a `build`
    with `**switches` checks their names itself.
    """
    common = {
        "num_classes": num_classes,
        "backbone": backbone,
        "scale": scale,
        "input_size": input_size,
        "images_per_batch": images_per_batch,
        "components": tuple(components),
    }
    parameters = inspect.signature(module.build).parameters
    if "components" not in parameters:
        check_components(module.NAME, components, ())
    if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters.values()):
        check_switches(module.NAME, switches, [name for name in parameters if name not in common])
    return module.build(**{name: value for name, value in common.items() if name in parameters}, **switches)
