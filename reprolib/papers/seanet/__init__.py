"""SEANet: supervised edge attention for instance segmentation (Chen, Lian et al.; ECCV 2020)."""
