"""Synthetic voices that speak words."""
