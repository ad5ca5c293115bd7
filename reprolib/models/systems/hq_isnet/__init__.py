"""The system hq_isnet: `model.py` and the parts that only it uses."""
