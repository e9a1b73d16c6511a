"""Versions of a model in the registry: registering, comparing, copying them."""
