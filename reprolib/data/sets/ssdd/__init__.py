"""Data set ssdd: card, conversion, preparation."""
