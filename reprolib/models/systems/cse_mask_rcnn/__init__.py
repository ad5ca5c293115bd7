"""The system cse_mask_rcnn: `model.py` and the parts that only it uses."""
