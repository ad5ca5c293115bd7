"""What every paper's `build` refuses: components and switches that do not exist, values that a switch does not have."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields


def check_components(system: str, components: Iterable[str], known: Collection[str]) -> None:
    """Raises ValueError naming the first component that does not exist."""
    for name in components:
        if name not in known:
            raise ValueError(f"{system} has no component {name!r}; there are {', '.join(known)}")


def check_switches(system: str, given: Iterable[str], switches: type, *, more: Sequence[str] = ()) -> None:
    """Raises ValueError naming the first of the given names that is no field of the dataclass `switches`.

    more: names that are switches too, for the message.
    """
    known = [field.name for field in fields(switches)]
    for name in given:
        if name not in known:
            raise ValueError(f"{system} has no switch {name!r}; there are {', '.join([*more, *known])}")


def check_values(switches: object, choices: Mapping[str, Collection[object]]) -> None:
    """Raises ValueError for a switch outside its choices, and for one of type bool that is neither true nor false.

    switches: a dataclass with its annotations as text. choices: by the name of the field.
    """
    for name, allowed in choices.items():
        if getattr(switches, name) not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(map(str, allowed))}, not {getattr(switches, name)!r}")
    for field in fields(switches):
        if field.type == "bool" and not isinstance(getattr(switches, field.name), bool):
            raise ValueError(f"{field.name} must be true or false, not {getattr(switches, field.name)!r}")
