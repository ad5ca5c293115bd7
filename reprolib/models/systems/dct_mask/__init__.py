"""The system dct_mask: `model.py` and the parts that only it uses."""
