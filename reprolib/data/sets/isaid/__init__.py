"""Data set isaid: card, conversion, preparation."""
