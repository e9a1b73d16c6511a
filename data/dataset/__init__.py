"""Datasets on disk: prepare, write, read and validate."""
