"""Micro-batching of requests, and hot reload of the model."""
