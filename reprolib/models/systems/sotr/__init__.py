"""The system sotr: `model.py` and the parts that only it uses."""
