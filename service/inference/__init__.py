"""Batches of requests on the model, and the exchange of that model."""
