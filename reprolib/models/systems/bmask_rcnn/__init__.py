"""The system bmask_rcnn: `model.py` and the parts that only it uses."""
