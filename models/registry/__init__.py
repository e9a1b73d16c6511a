"""Versions of models by name, and the aliases that choose the served one."""
