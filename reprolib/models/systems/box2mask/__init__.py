"""The system box2mask: `model.py` and the parts that only it uses."""
