"""The system mask2former: `model.py` and the parts that only it uses."""
