"""COCO metrics, cost and the record of a run."""
