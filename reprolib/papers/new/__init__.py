"""Templates of a new paper, and what fills them in."""
