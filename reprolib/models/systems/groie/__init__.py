"""The system groie: `model.py` and the parts that only it uses."""
