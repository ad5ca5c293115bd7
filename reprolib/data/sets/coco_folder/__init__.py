"""Data set coco_folder: card, conversion, preparation."""
