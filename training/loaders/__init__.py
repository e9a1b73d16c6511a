"""Batches from a dataset."""
