"""The system mask_rcnn: `model.py` and the parts that only it uses."""
