"""The Python API of released models."""
