"""Data set bbbc038: card, conversion, preparation."""
