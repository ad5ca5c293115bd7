"""The system emin: `model.py` and the parts that only it uses."""
