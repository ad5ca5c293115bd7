"""Systems whose publications leave their design open: what is assumed. Shown wherever such a system is shown."""

from __future__ import annotations

from types import MappingProxyType

# By the name that publications print. Imports no torch: tables and records read this.
INFERRED = MappingProxyType(
    {
        "SA R-CNN": "Design inferred: only ResNet-50 with global context blocks and a FPN is public; which blocks have"
        " one, the semantic attention (a balanced pyramid with a non-local block) and the anchor attention (a location"
        " map on the RPN, trained on box centres) are assumed",
        "MNC": "Modernised: its COCO model was never released. Feature pyramid and RoIAlign in place of RoI warping,"
        " fully connected layers of 1,024 in place of 4,096, 128 sampled boxes, no mask voting",
    }
)


def inferred(system: str) -> str:
    """What is assumed about a system's design, empty where the publication or its code says it."""
    return INFERRED.get(system, "")
