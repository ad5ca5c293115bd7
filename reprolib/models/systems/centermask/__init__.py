"""The system centermask: `model.py` and the parts that only it uses."""
