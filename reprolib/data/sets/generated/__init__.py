"""Data set generated: card, conversion, preparation."""
