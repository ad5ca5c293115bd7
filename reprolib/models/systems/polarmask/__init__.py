"""The system polarmask: `model.py` and the parts that only it uses."""
