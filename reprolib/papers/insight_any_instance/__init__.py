"""Insight Any Instance: prompts for remote sensing images (Li, Diao, Li, Sun; arXiv 2409.07022, 2024)."""
