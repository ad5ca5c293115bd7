"""The system mnc: `model.py` and the parts that only it uses."""
