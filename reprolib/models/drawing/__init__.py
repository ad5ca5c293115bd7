"""Networks as diagrams, with the shapes of a traced run."""
