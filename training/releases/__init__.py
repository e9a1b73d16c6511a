"""Versions of a model in the registry: register, compare, export to MLflow."""
