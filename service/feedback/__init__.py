"""Feedback on predictions: labels from people and tools, and optionally the recordings.

Modules that import SQLAlchemy are imported only when the database is first used, so that the
service starts without it.
"""
