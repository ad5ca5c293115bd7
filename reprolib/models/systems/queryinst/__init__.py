"""The system queryinst: `model.py` and the parts that only it uses."""
