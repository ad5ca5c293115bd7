"""The system solov2: `model.py` and the parts that only it uses."""
