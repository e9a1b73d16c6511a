"""Versions of models under a name, and the aliases that say which of them serves."""
