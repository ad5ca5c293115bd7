"""The system fcis: `model.py` and the parts that only it uses."""
