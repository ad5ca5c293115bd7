"""Training and inference for any detector that keeps the contract."""
