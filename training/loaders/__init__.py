"""Training and validation batches from a dataset."""
