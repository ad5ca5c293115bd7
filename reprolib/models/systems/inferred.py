"""Systems whose publications leave their design open: what is assumed. Shown wherever such a system is shown."""

from __future__ import annotations

from types import MappingProxyType

# By the name that publications print. Imports no torch: tables and records read this.
INFERRED = MappingProxyType(
    {
        "SA R-CNN": "Design inferred: only ResNet-50 with global context blocks and a FPN is public; which blocks have"
        " one, the semantic attention (a balanced pyramid with a non-local block) and the anchor attention (a location"
        " map on the RPN, trained on box centres) are assumed",
        "Box2Mask-C": "Design inferred: only Box2Mask-T's code is public; the network and the assignment are those of"
        " BoxLevelSet, its predecessor, with the local consistency of Box2Mask-T, trees on maps of at most 96 px",
    }
)


def inferred(system: str) -> str:
    """What is assumed about a system's design, empty where the publication or its code says it."""
    return INFERRED.get(system, "")
