"""From a run of the plan to weights, predictions and a record."""
