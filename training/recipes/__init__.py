"""End-to-end recipes: the demo, and the training of the shipped models."""
