"""The system fl_cse_roie: `model.py` and the parts that only it uses."""
