"""What a builder refuses: components and switches that do not exist, and values that a switch does not have."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields


def check_components(system: str, components: Iterable[str], known: Collection[str]) -> None:
    """Raises ValueError naming what the system does not have of these components."""
    for name in components:
        if not known:
            raise ValueError(f"{system} has no components, but {', '.join(components)} is switched on")
        if name not in known:
            raise ValueError(f"{system} has no component {name!r}; there are {', '.join(known)}")


def check_switches(system: str, names: Iterable[str], known: Collection[str]) -> None:
    """Raises ValueError naming the first switch that the system does not have."""
    for name in names:
        if name not in known:
            raise ValueError(f"{system} has no switch {name!r}; there are {', '.join(known) or 'none'}")


def switch_names(switches: type) -> list[str]:
    """Names of the fields of the dataclass `switches`."""
    return [field.name for field in fields(switches)]


def check_choice(name: str, value: object, choices: Collection[object]) -> None:
    """Raises ValueError where the switch called `name` has a value that is not among its choices."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}, not {value!r}")


def check_values(switches: object, choices: Mapping[str, Collection[object]]) -> None:
    """Raises ValueError for a switch outside its choices, and for one of type bool that is neither true nor false.

    switches: a dataclass with its annotations as text. choices: by the name of the field.
    """
    for name, allowed in choices.items():
        check_choice(name, getattr(switches, name), allowed)
    for field in fields(switches):
        if field.type == "bool" and not isinstance(getattr(switches, field.name), bool):
            raise ValueError(f"{field.name} must be true or false, not {getattr(switches, field.name)!r}")
