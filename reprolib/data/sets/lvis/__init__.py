"""Data set lvis: card, conversion, preparation."""
