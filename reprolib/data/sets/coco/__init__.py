"""Data set coco: card, conversion, preparation."""
