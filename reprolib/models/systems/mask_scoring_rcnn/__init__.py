"""The system mask_scoring_rcnn: `model.py` and the parts that only it uses."""
