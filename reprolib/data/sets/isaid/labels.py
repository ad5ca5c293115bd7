"""Classes of iSAID and their colours in its masks."""

from __future__ import annotations

# By category id from 1 on: name and colour, R + 256 G + 65536 B.
CLASSES = (
    ("ship", 4_128_768),
    ("storage_tank", 4_144_896),
    ("baseball_diamond", 16_128),
    ("tennis_court", 8_339_200),
    ("basketball_court", 12_533_504),
    ("Ground_Track_Field", 16_727_808),
    ("Bridge", 4_161_280),
    ("Large_Vehicle", 8_355_584),
    ("Small_Vehicle", 8_323_072),
    ("Helicopter", 12_517_376),
    ("Swimming_pool", 16_711_680),
    ("Roundabout", 8_371_968),
    ("Soccer_ball_field", 12_549_888),
    ("plane", 16_744_192),
    ("Harbor", 10_183_680),
)
