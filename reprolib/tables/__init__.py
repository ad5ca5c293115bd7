"""Reported and reproduced, side by side."""
