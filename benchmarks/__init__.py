"""What is timed or compared side by side; not part of the package."""
