"""The system scnet: `model.py` and the parts that only it uses."""
