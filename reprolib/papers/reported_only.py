"""Methods of the tables that nothing here can run, each with the reason: their rows are `reported only`."""

from __future__ import annotations

from types import MappingProxyType

# By the name that the reported tables have. Imports no torch: tables read this.
REPORTED_ONLY = MappingProxyType(
    {
        "RSIISN": "Nothing to build it from: neither text nor code is public. All that is known is what Insight Any"
        " Instance says, that three attention modules combine CNN and transformer; its host, backbone, widths, losses"
        " and schedule are not.",
        "FB-ISNet": "Nothing to build it from: four pages of which no more than the title is public, neither code nor"
        " preprint nor abstract. Its single number is quoted.",
        "WSODet": "No instance segmentation: a detector of oriented boxes that learns from horizontal ones and has no"
        " masks. Its rotated boxes are not what its row is compared by, and no code was found.",
        "DAL": "No instance segmentation: a detector of movable objects without masks, of which neither text nor code"
        " was found. It is not Dynamic Anchor Learning (AAAI 2021), which has the same short name.",
        "Ref35-EllipticCenterness": "Too little to build it from: the abstract says that centre-ness is a Gaussian of"
        " the ellipse fitted to an instance's contour, and leaves open backbone, mask branch, losses and schedule. No"
        " code was found.",
        "FCIS+++": "Quoted, and its configuration was never released: FCIS, which is built, said to be trained and"
        " tested at several image scales and with flipped images.",
    }
)
