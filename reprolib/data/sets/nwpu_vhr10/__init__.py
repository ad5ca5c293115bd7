"""Data set nwpu_vhr10: card, conversion, preparation."""
