"""The system knet: `model.py` and the parts that only it uses."""
