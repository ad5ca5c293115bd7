"""Detectors as published, built from shared parts."""
