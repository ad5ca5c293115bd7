"""IEMask R-CNN: Information-Enhanced Mask R-CNN (Bi, Hu, Xiao, Li, Gao; IEEE Trans. on Big Data, 2022)."""
