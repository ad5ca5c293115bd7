"""The system yolact: `model.py` and the parts that only it uses."""
