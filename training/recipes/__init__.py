"""Whole journeys: the demo, and the models that ship."""
