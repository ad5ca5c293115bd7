"""How the suite's own splits are drawn: by hash, so the same whatever the order, the machine and the library."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping

SEED = 0


def draw_stratified(strata: Mapping[str, Hashable], *, share: float) -> list[str]:
    """Names, sorted, that make up `share` of all and, as far as it divides, of every stratum.

    strata: name -> stratum. Each stratum gives its share, rounded down, and what is missing to the share of all comes
    one by one from the strata with the largest remainder. Within a stratum, and between equal remainders, the order is
    drawn by hash.
    """
    names_of: dict[Hashable, list[str]] = defaultdict(list)
    for name in sorted(strata, key=_draw):
        names_of[strata[name]].append(name)
    exact = {key: share * len(names) for key, names in names_of.items()}
    room = {key: math.floor(count) for key, count in exact.items()}
    missing = round(share * len(strata)) - sum(room.values())
    by_remainder = sorted(names_of, key=lambda key: (room[key] - exact[key], _draw(names_of[key][0])))
    for key in by_remainder[:missing]:
        room[key] += 1
    return sorted(name for key, names in names_of.items() for name in names[: room[key]])


def draw_groups(groups: Iterable[Iterable[str]], *, share: float) -> list[str]:
    """Names, sorted, of whole groups, tried in an order drawn by hash while `share` of all names has room for them."""
    ordered = sorted((sorted(names) for names in groups), key=lambda names: _draw(names[0]))
    room = round(share * sum(len(names) for names in ordered))
    chosen: list[str] = []
    for names in ordered:
        if len(names) <= room:
            chosen += names
            room -= len(names)
    return sorted(chosen)


def _draw(name: str) -> str:
    return hashlib.sha256(f"{SEED} {name}".encode()).hexdigest()
