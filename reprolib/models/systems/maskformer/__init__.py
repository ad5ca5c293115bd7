"""The system maskformer: `model.py` and the parts that only it uses."""
