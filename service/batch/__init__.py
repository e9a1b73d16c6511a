"""Batch classification, from one file to a cluster. May import data, models and service.*."""
