"""Data set custom: card, conversion, preparation."""
