"""The cards of all data sets that the publications and profiles name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from reprolib.data.card import Card
from reprolib.data.sets.bbbc038 import card as bbbc038
from reprolib.data.sets.cityscapes import card as cityscapes
from reprolib.data.sets.coco import card as coco
from reprolib.data.sets.custom import card as custom
from reprolib.data.sets.generated import card as generated
from reprolib.data.sets.hrsid import card as hrsid
from reprolib.data.sets.isaid import card as isaid
from reprolib.data.sets.lvis import card as lvis
from reprolib.data.sets.nwpu_vhr10 import card as nwpu_vhr10
from reprolib.data.sets.ssdd import card as ssdd

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
