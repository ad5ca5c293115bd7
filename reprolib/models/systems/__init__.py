"""The published systems, one file each: a name and a function that builds the detector."""
