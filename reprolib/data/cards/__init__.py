"""The cards of all data sets that the publications and profiles name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from reprolib.data.card import Card
from reprolib.data.cards import generated, natural, nuclei, remote_sensing

CARDS: Mapping[str, Card] = MappingProxyType(
    {
        card.name: card
        for card in (
            *generated.CARDS,
            nuclei.BBBC038,
            natural.COCO,
            natural.LVIS,
            natural.CITYSCAPES,
            natural.CITYSCAPES_5,
            remote_sensing.SSDD,
            remote_sensing.HRSID,
            remote_sensing.ISAID,
            remote_sensing.NWPU_VHR10,
        )
    }
)
