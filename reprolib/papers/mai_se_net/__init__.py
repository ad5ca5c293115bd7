"""MAI-SE-Net for ship instance segmentation in radar images (Zhang and Zhang; IEEE GRSL, 2022)."""
