"""The system mask_transfiner: `model.py` and the parts that only it uses."""
