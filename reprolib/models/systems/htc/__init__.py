"""The system htc: `model.py` and the parts that only it uses."""
