"""Data sets: catalogue, preparation, reading, checks."""
