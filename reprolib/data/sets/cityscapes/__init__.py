"""Data set cityscapes: card, conversion, preparation."""
