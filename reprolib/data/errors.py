"""The error of the data layer."""

from __future__ import annotations


class DataError(ValueError):
    """Data on disk (or its description) cannot be used; the message names the file, the entry and the
    mend."""
