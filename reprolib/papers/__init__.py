"""One folder per publication."""
