"""reprolib: instance segmentation papers, re-implemented, retrained and compared with what they report."""
