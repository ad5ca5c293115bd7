"""Systems whose publications leave their design open: what is assumed. Shown wherever such a system is shown."""

from __future__ import annotations

from types import MappingProxyType

# By the name that publications print. Imports no torch: tables and records read this.
INFERRED = MappingProxyType(
    {
        "SA R-CNN": "Design inferred: only ResNet-50 with global context blocks and a FPN is public; which blocks have"
        " one, the semantic attention (a balanced pyramid with a non-local block) and the anchor attention (a location"
        " map on the RPN, trained on box centres) are assumed",
        "FL-CSE-RoIE": "Design inferred from the abstract: HTC with all levels of the pyramid, larger scopes around a"
        " box, squeeze and excitation, CARAFE and self-attention in the mask flow is public; the scopes (1, 1.5, 2),"
        " the sum of the levels and where the excitation stands are assumed",
        "C-SE Mask R-CNN": "Design inferred from the title and FL-CSE-RoIE's abstract: Mask R-CNN whose boxes and masks"
        " read three scopes of a box from one level, weighed by squeeze and excitation, is assumed throughout",
        "EMIN": "Design inferred: nothing but the title could be read; assumed identical to MAI-SE-Net with ASPP, NLB"
        " and CSAB, whose run is shown; its own module builds another reading",
        "MNC": "Modernised: its COCO model was never released. Feature pyramid and RoIAlign in place of RoI warping,"
        " fully connected layers of 1,024 in place of 4,096, 128 sampled boxes, no mask voting",
        "Box2Mask-C": "Design inferred: only Box2Mask-T's code is public; the network and the assignment are those of"
        " BoxLevelSet, its predecessor, with the local consistency of Box2Mask-T, trees on maps of at most 96 px",
    }
)


def inferred(*systems: str) -> str:
    """What is assumed about the design of the first of these that has such, empty where the publications say it all.

    A table's row may be printed under another name than that of the system whose run it shows.
    """
    return next((INFERRED[system] for system in systems if system in INFERRED), "")
