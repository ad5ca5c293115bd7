"""Data set hrsid: card, conversion, preparation."""
