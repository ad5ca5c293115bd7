"""The cards of all data sets that the publications and profiles name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from reprolib.data.card import Card
from reprolib.data.cards import bbbc038, cityscapes, coco, custom, generated, hrsid, isaid, lvis, nwpu_vhr10, ssdd

CARDS: Mapping[str, Card] = MappingProxyType(
    {
        card.name: card
        for card in (
            *generated.CARDS,
            bbbc038.CARD,
            coco.CARD,
            lvis.CARD,
            cityscapes.CITYSCAPES,
            cityscapes.CITYSCAPES_5,
            ssdd.SSDD,
            ssdd.SSDD_7_3,
            hrsid.CARD,
            isaid.CARD,
            nwpu_vhr10.CARD,
            custom.CARD,
        )
    }
)
