"""The system panet: `model.py` and the parts that only it uses."""
