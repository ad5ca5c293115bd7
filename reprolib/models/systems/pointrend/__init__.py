"""The system pointrend: `model.py` and the parts that only it uses."""
